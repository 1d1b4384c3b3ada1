import { Command, Option } from 'commander';
import { createTerminal, type Terminal } from './terminal.js';

/** Options that every command has. */
export interface CommonOptions {
  json?: boolean;
  quiet?: boolean;
  threads?: number;
}

/**
 * Makes a command with the options and habits that all of Strata's commands share.
 *
 * @param name Word under `strata`.
 * @param summary One line, for the list of commands.
 * @param examples Command lines shown under `--help`, each with what it does.
 */
export function defineCommand(
  name: string,
  summary: string,
  examples: readonly (readonly [line: string, does: string])[],
): Command {
  const command = new Command(name).description(summary);
  if (examples.length > 0) {
    const width = Math.max(...examples.map(([line]) => line.length));
    const lines = examples.map(([line, does]) => `  ${line.padEnd(width)}  ${does}`);
    command.addHelpText('after', `\nExamples:\n${lines.join('\n')}`);
  }
  return command;
}

/** Adds `--json`, `--quiet` and `--threads`, last, so that they stand below the command's own options. */
export function withCommonOptions(command: Command): Command {
  return command
    .addOption(new Option('--json', 'print one JSON document on standard output, everything else on standard error'))
    .addOption(new Option('--quiet', 'print only results and errors'))
    .addOption(new Option('--threads <n>', 'threads to use (default: all cores)').argParser(parsePositiveInteger));
}

/** Parses a whole number of at least one. Errors name the option through commander. */
export function parsePositiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidNumber(text, 'a whole number of at least 1');
  return value;
}

/** Parses a whole number; 0 is one. */
export function parseWholeNumber(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) throw new InvalidNumber(text, 'a whole number');
  return value;
}

/** Parses a number such as `7e9`. */
export function parseNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidNumber(text, 'a number');
  return value;
}

/** An option value that is no number; commander adds the option's name. */
class InvalidNumber extends Error {
  readonly code = 'commander.invalidArgument';
  constructor(found: string, expected: string) {
    super(`expected ${expected}, found "${found}".`);
  }
}

/** The terminal for a command's options. */
export const terminalFor = (options: CommonOptions): Terminal =>
  createTerminal({ json: options.json ?? false, quiet: options.quiet ?? false });
