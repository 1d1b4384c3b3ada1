import { compareRuns, type Comparison } from './experiments/compare/index.js';
import { readRun } from './records/index.js';
import { writeReport } from './report/index.js';

/**
 * Compares runs with a baseline: speedup and saved FLOPs at equal validation loss, what was paid for base models included.
 *
 * @param baseline Folder of the run to compare with.
 * @param runs Folders of the runs to compare.
 * @throws InputError where a folder is no run, or the runs were validated on different data.
 */
export const compare = (baseline: string, ...runs: readonly string[]): Comparison =>
  compareRuns(
    [readRun(baseline)],
    runs.map((run) => readRun(run)),
  );

/**
 * Writes one self-contained HTML file with the curves, the comparison and the configs of runs.
 *
 * @param folders Run folders; the first is the baseline that the others are compared with.
 * @param file Path of the report.
 * @throws InputError where a folder is no run.
 */
export function report(folders: readonly string[], file: string): void {
  const runs = folders.map((folder) => readRun(folder));
  const comparison = runs.length > 1 ? compareRuns(runs.slice(0, 1), runs.slice(1)) : undefined;
  writeReport(file, { runs, ...(comparison === undefined ? {} : { comparison }) });
}
