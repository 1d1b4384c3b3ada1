import type { ExternalConfig } from '../config/index.js';

/** Text for a POSIX shell that stands for itself. */
const quoted = (text: string): string => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** Fills in `{adapter}`, `{input}` and `{output}` of a stage's command; paths are quoted for the shell. */
export function fillCommand({ command, adapter }: ExternalConfig, input: string, output: string): string {
  const values: Record<string, string | undefined> = { adapter, input, output };
  return command.replace(/\{(adapter|input|output)\}/g, (_, name: string) => quoted(values[name] ?? ''));
}
