import type { Command } from 'commander';

/** Every command of `strata`: one file each, loaded only when it is named (or for the list). */
export const commands: Record<string, { summary: string; load: () => Promise<{ create(): Command }> }> = {
  // one line per command
};
