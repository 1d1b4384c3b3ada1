import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { TestContext } from 'vitest';

/** Skips a slow test unless it was asked for. */
export function skipUnlessSlow(context: TestContext): void {
  if (process.env['STRATA_SLOW'] !== '1') context.skip('slow: npm run test:slow runs it');
}

/** The path of a program, or a skip that names the Debian package with it. */
export function programOrSkip(context: TestContext, program: string, debianPackage: string): string {
  const found = findProgram(program);
  return found ?? context.skip(`needs ${program} (Debian: apt-get install ${debianPackage})`);
}

/** The folder with the evaluation data (`STRATA_EVAL_DATA`), or a skip. */
export function evaluationDataOrSkip(context: TestContext): string {
  const folder = process.env['STRATA_EVAL_DATA'];
  if (folder === undefined || !existsSync(folder))
    context.skip('needs STRATA_EVAL_DATA, a folder with evaluation data');
  return folder;
}

function findProgram(program: string): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return folders.map((folder) => join(folder, program)).find((path) => existsSync(path));
}
