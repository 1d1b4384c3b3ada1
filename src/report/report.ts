import { join } from 'node:path';
import { writeFileAtomic } from '../files/atomic.js';
import type { FitFile } from '../planner/index.js';
import type { Run } from '../records/index.js';
import { pageRuns, type PageComparison, type PageData } from './data.js';
import { figuresFor } from './figures.js';
import { figureSvg, renderPage } from './page.js';
import { svgToPng } from './render.js';
import type { PageStudy } from './study-data.js';
import type { PageTune } from './tune-data.js';

/** What a report shows. */
export interface ReportInput {
  readonly runs: readonly Run[];
  /** What `compareRuns` found; left out, the report shows the runs alone. */
  readonly comparison?: PageComparison;
  /** What `strata fit` found. */
  readonly fit?: FitFile;
  readonly title?: string;
}

const dataOf = ({ runs, comparison, fit }: ReportInput): PageData => ({
  runs: pageRuns(runs),
  comparison: comparison ?? null,
  fit: fit ?? null,
});

/** Writes the report as one self-contained HTML file. */
export function writeReport(path: string, input: ReportInput): void {
  writeFileAtomic(path, renderPage(dataOf(input), { title: input.title ?? 'Growth report' }));
}

/** Writes the page of a study; its figures beside it as SVG where `figures` names a folder. */
export function writeStudyReport(path: string, study: PageStudy, figures?: string): void {
  writePage(path, `Study ${study.study}`, { runs: [], comparison: null, fit: null, study }, figures);
}

/** Writes the page of a search over hyper-parameters; its figures beside it as SVG where `figures` names a folder. */
export function writeTuneReport(path: string, tune: PageTune, figures?: string): void {
  writePage(path, `Search ${tune.name}`, { runs: [], comparison: null, fit: null, tune }, figures);
}

function writePage(path: string, title: string, data: PageData, figures: string | undefined): void {
  writeFileAtomic(path, renderPage(data, { title }));
  if (figures === undefined) return;
  for (const figure of figuresFor(data))
    writeFileAtomic(join(figures, `${figure.id}.svg`), figureSvg(figure, data, true));
}

/** Writes each figure as SVG and PNG, with the runs' names at their lines; returns the paths. */
export function writeFigures(folder: string, input: ReportInput): string[] {
  const data = dataOf(input);
  return figuresFor(data).flatMap((figure) => {
    const svg = figureSvg(figure, data, true);
    const path = join(folder, figure.id);
    writeFileAtomic(`${path}.svg`, svg);
    writeFileAtomic(`${path}.png`, svgToPng(svg));
    return [`${path}.svg`, `${path}.png`];
  });
}
