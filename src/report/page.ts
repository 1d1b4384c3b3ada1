import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { version } from '../version.js';
import { charts } from './charts/index.js';
import { startPage, type PageStart } from './client/controller.js';
import type { PageData } from './data.js';
import { figuresFor, type FigureSpec } from './figures.js';
import { escapeHtml, scriptJson } from './html.js';
import { renderSvg } from './render.js';
import { studySection } from './study.js';
import { style } from './style.js';
import { armTable, conventionTable, headline, legend, notes, runDetails, runTable } from './tables.js';
import { tuneHeadline, tuneTables } from './tune.js';

export interface PageOptions {
  readonly title: string;
  /** Address of the stream that a live page follows. */
  readonly live?: string;
}

const STATIC_WIDTH = 1000;

/** Whether a page shows runs, and not what a study or a search came to. */
const isOfRuns = ({ study, tune }: PageData): boolean => study === undefined && tune === undefined;

/** The parts of the page that are text and change with the data, by the id of their element. */
export const pageParts = (data: PageData, live: boolean): Record<string, string> => ({
  headline: headline(data),
  legend: legend(data.runs),
  study: studySection(data),
  tune: tuneHeadline(data),
  'tune-tables': tuneTables(data),
  table: isOfRuns(data) ? runTable(data) : '',
  arms: data.comparison === null ? '' : armTable(data.comparison),
  conventions: data.comparison === null ? '' : conventionTable(data.comparison, data.runs),
  notes: notes(data),
  details: runDetails(data.runs, live),
});

/**
 * The report as one HTML file that needs nothing else: no network, no other file.
 *
 * Its figures are drawn here, so that they show without scripts and on paper, and drawn again by the page's script where it runs.
 */
export function renderPage(data: PageData, options: PageOptions): string {
  const figures = figuresFor(data);
  const parts = pageParts(data, options.live !== undefined);
  const part = (id: string): string => `<div id="${id}">${parts[id] ?? ''}</div>`;
  const start: PageStart = { data, figures, ...(options.live === undefined ? {} : { live: options.live }) };
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; connect-src 'self'">
<link rel="icon" href="data:,">
<title>${escapeHtml(options.title)}</title>
<style>${style}</style>
</head>
<body>
<main>
<h1>${escapeHtml(options.title)}</h1>
<p class="soft">Strata ${version}${options.live === undefined ? '' : ' · <span id="status" role="status">connecting</span>'}</p>
${part('headline')}
${part('study')}
${part('tune')}
${part('table')}
${part('notes')}
<div class="controls" id="controls">${controls(data, figures, parts['legend'] ?? '')}</div>
<div id="figures">${figures.map((figure) => figureHtml(figure, figureSvg(figure, data, false))).join('\n')}</div>
${part('tune-tables')}
${part('arms')}
${part('conventions')}
<section id="diff" hidden>
<h2>Differences of configs</h2>
<p><label>of <select id="diff-a"></select></label> <label>and <select id="diff-b"></select></label></p>
<div class="scroll"><table id="diff-table"></table></div>
</section>
${isOfRuns(data) ? '<h2>Runs in detail</h2>' : ''}
${part('details')}
<p class="soft">${isOfRuns(data) ? 'Thin lines show means of neighbouring train records. ' : ''}FLOPs count matrix products and attention (full T²) exactly.</p>
</main>
<script>${inlineScript(library('d3'))}</script>
<script>${inlineScript(library('@observablehq/plot'))}</script>
<script>
${pageScript()}
startPage(window, Plot, charts, ${scriptJson(start)});
</script>
</body>
</html>
`;
}

/** What a reader can choose: axes where a figure has logarithmic ones, and what concerns runs where there are any. */
function controls(data: PageData, figures: readonly FigureSpec[], legendHtml: string): string {
  const axis = (name: 'x' | 'y'): string =>
    `<label><input type="checkbox" id="log-${name}" checked> log ${name}</label>`;
  const axes = [
    ...(figures.some(({ logX }) => logX) ? [axis('x')] : []),
    ...(figures.some(({ logY }) => logY) ? [axis('y')] : []),
  ];
  if (!isOfRuns(data)) return axes.join('\n');
  return `${axes.join('\n')}
<label><input type="checkbox" id="whole"> from the start</label>
<label>smoothing <input type="range" id="smoothing" min="0" max="0.98" step="0.02" value="0"></label>
<label>find <input type="search" id="search" size="12"></label>
<span><button id="show-all" type="button">all</button> <button id="show-none" type="button">none</button></span>
<div class="legend" id="legend" role="group" aria-label="Runs">${legendHtml}</div>`;
}

/** A figure at its first look, in the words of `View`. */
export const figureSvg = (figure: FigureSpec, data: PageData, labels: boolean): string =>
  renderSvg(
    { id: figure.id, title: figure.title, draw: charts[figure.chart], input: data },
    {
      width: STATIC_WIDTH,
      height: figure.height,
      x: figure.x,
      metrics: figure.metrics,
      field: figure.field,
      logX: figure.logX,
      logY: figure.logY,
      whole: false,
      interactive: false,
      labels,
    },
  );

/** A figure's place in the page, with its first drawing or none. */
export const figureHtml = (figure: FigureSpec, svg: string): string =>
  `<figure data-figure="${figure.id}" tabindex="0"><h2>${escapeHtml(figure.title)}</h2><figcaption>${escapeHtml(figure.caption)}</figcaption><div class="plot">${svg}</div></figure>`;

/** The chart functions and the controller as source text: they use nothing but their arguments. */
export function pageScript(): string {
  const functions = Object.entries(charts).map(([name, draw]) => `${JSON.stringify(name)}: ${draw.toString()}`);
  return `const charts = {${functions.join(',\n')}};\nconst startPage = ${startPage.toString()};`;
}

/** The browser build of a library, from the package that is installed. */
function library(name: string): string {
  const { resolve } = createRequire(import.meta.url);
  const file = name === 'd3' ? 'd3.min.js' : 'plot.umd.min.js';
  const folder = dirname(resolve(name)).replace(/[\\/]src$/, '/dist');
  return readFileSync(join(folder, file), 'utf8');
}

/** A script's text inside a script element. */
const inlineScript = (source: string): string => source.replaceAll('</script', '<\\/script');
