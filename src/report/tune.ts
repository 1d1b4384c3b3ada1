import type { PageData } from './data.js';
import { escapeHtml } from './html.js';
import type { PageRung, PageTrial, PageTune } from './tune-data.js';

const BYTES_PER_MB = 1e6;
const percent = (share: number): string => `${(100 * share).toFixed(1)}\u00a0%`;
const flopsText = (value: number): string => value.toExponential(3).replace('e+', 'e');
const valueText = (value: unknown): string => escapeHtml(String(value));

/** What a search came to: the winner, its price, and the fidelities. */
export function tuneHeadline({ tune }: PageData): string {
  if (tune === undefined) return '';
  const head = `<div class="headline">${winner(tune)}</div>`;
  return tune.rungs.length === 0 ? head : [head, '<h2>Fidelities</h2>', fidelityTable(tune)].join('\n');
}

/** What stands below the figures of a search: how fidelities rank, what they cost, and which configs went on. */
export function tuneTables({ tune }: PageData): string {
  if (tune === undefined || tune.rungs.length === 0) return '';
  return [
    ...correlationTable(tune),
    ...costTable(tune),
    '<h2>Configs</h2>',
    '<p class="soft">Validation loss at each fidelity, the furthest and best first. In bold the best of a fidelity; an arrow where a config went on to the next.</p>',
    configTable(tune),
    ...failures(tune),
  ].join('\n');
}

function winner(tune: PageTune): string {
  const { winner: best, flops, flopsWithoutHalving, rungs, complete } = tune;
  const configs = rungs[0]?.trials.length ?? 0;
  const spent = `The search took ${flopsText(flops)} FLOPs`;
  if (best === undefined) {
    const reason = complete
      ? 'No config of the last fidelity ran to its end.'
      : 'The search is not finished; the same command goes on where it stopped.';
    return `<p><b>No winner.</b> ${reason}</p><p class="counted">${spent}${complete ? '' : ' so far'}.</p>`;
  }
  const settings = Object.entries(best.values).map(([path, value]) => `--set ${path}=${String(value)}`);
  const full =
    flopsWithoutHalving === undefined
      ? ''
      : `, ${percent(flops / flopsWithoutHalving)} of the ${flopsText(flopsWithoutHalving)} that all ${configs} configs would have taken at the last fidelity`;
  const edges = atEdge(tune).map(
    (path) => `<p class="counted">The best ${escapeHtml(path)} lies at the edge of what was tried: search further.</p>`,
  );
  return [
    `<p>The best of ${configs} configs, validation loss ${best.loss?.toFixed(4) ?? '–'}:</p>`,
    `<p><code>${escapeHtml(settings.join(' '))}</code></p>`,
    `<p class="counted">${spent}${full}.</p>`,
    ...edges,
  ].join('');
}

/** Paths whose best number is the smallest or largest of those that were tried. */
function atEdge({ rungs, winner: best }: PageTune): string[] {
  const first = rungs[0]?.trials ?? [];
  return Object.entries(best?.values ?? {}).flatMap(([path, value]) => {
    const tried = new Set(first.map(({ values }) => values[path]));
    if (typeof value !== 'number' || tried.size < 3) return [];
    const numbers = [...tried].map(Number);
    return value === Math.min(...numbers) || value === Math.max(...numbers) ? [path] : [];
  });
}

const fidelityTable = ({ rungs }: PageTune): string =>
  table(
    ['Fidelity', 'Configs', 'Failed', 'Went on', 'Best loss', 'Best config'],
    rungs.map(({ label, trials, kept }, i) => {
      const [best] = trials.filter(hasLoss);
      const values = Object.entries(best?.values ?? {}).map(
        ([path, value]) => `${escapeHtml(path.split('.').at(-1) ?? path)} ${valueText(value)}`,
      );
      return [
        fidelity(label, i),
        String(trials.length),
        String(trials.filter(({ status }) => status === 'failed').length),
        i === rungs.length - 1 ? '–' : String(kept.length),
        best === undefined ? '–' : best.loss.toFixed(4),
        best === undefined ? '–' : values.join(', '),
      ];
    }),
  );

/** Every pair of fidelities, darker where they agree more; orange where they order in reverse. */
function correlationTable({ rungs, correlations }: PageTune): string[] {
  if (correlations.length === 0) return [];
  const columns = rungs.slice(1).map((_rung, i) => i + 2);
  const rows = rungs.slice(0, -1).map(({ label }, i) => [
    `<th scope="row">${fidelity(label, i)}</th>`,
    ...columns.map((column) => {
      const found = correlations.find(({ low, high }) => low === i + 1 && high === column);
      if (found === undefined) return '<td></td>';
      const { spearman, configs } = found;
      const count = `<br><span class="soft">${configs} config${configs === 1 ? '' : 's'}</span>`;
      if (spearman === null || !Number.isFinite(spearman)) return `<td>not defined${count}</td>`;
      const shade = `background: color-mix(in srgb, ${spearman < 0 ? '#d55e00' : '#0072b2'} ${(30 * Math.abs(spearman)).toFixed(0)}%, transparent)`;
      return `<td style="${shade}"><b>${spearman.toFixed(3)}</b>${count}</td>`;
    }),
  ]);
  const head = ['', ...columns.map((column) => `with ${fidelity(rungs[column - 1]?.label ?? '', column - 1)}`)];
  return [
    "<h2>Spearman's correlation between fidelities</h2>",
    '<p class="soft">1: two fidelities order the configs alike; 0: one says nothing about the other. Over the configs that ran to their end at both: halving leaves fewer and better ones, whose order is harder to see, so that two or three say little.</p>',
    `<div class="scroll"><table class="wrap"><thead><tr>${head.map(headCell).join('')}</tr></thead><tbody>${rows.map((cells) => `<tr>${cells.join('')}</tr>`).join('')}</tbody></table></div>`,
  ];
}

/** Forecast and measurement of each fidelity's steps: time by FLOPs against the last fidelity, bytes by themselves. */
function costTable({ rungs }: PageTune): string[] {
  if (rungs.every(({ cost }) => cost === undefined)) return [];
  const last = rungs.at(-1)?.cost;
  const rows = rungs.flatMap(({ label, cost }, i) =>
    cost === undefined ? [] : [[fidelity(label, i), ...timeCells(cost, last), ...memoryCells(cost)]],
  );
  return [
    '<h2>Forecast and measured</h2>',
    '<p class="soft">FLOPs forecast time: their shares of the last fidelity agree where steps take as long as is forecast. Time is the median over the steps of the first run that ended; memory is what its engine held at the end.</p>',
    table(
      ['Fidelity', 'FLOPs of a token', 'Time of a token', 'Off by', 'Memory forecast', 'Memory held', 'Off by'],
      rows,
    ),
  ];
}

function timeCells(cost: NonNullable<PageRung['cost']>, last: PageRung['cost']): string[] {
  const flopsShare = cost.flopsPerToken / (last?.flopsPerToken ?? NaN);
  const timeShare = (cost.secondsPerToken ?? NaN) / (last?.secondsPerToken ?? NaN);
  const seconds = cost.secondsPerToken;
  const time = seconds === undefined ? '–' : `${(1e6 * seconds).toPrecision(3)}\u00a0µs`;
  const known = cost !== last && Number.isFinite(timeShare / flopsShare);
  return [
    `${flopsText(cost.flopsPerToken)}${ofLast(flopsShare)}`,
    `${time}${ofLast(timeShare)}`,
    known ? offBy(timeShare / flopsShare) : '–',
  ];
}

const ofLast = (share: number): string =>
  Number.isFinite(share) ? `<br><span class="soft">${share.toFixed(3)} of the last</span>` : '';

function memoryCells({ forecastBytes, countedBytes }: NonNullable<PageRung['cost']>): string[] {
  const megabytes = (bytes: number | undefined): string =>
    bytes === undefined ? '–' : `${(bytes / BYTES_PER_MB).toFixed(1)}\u00a0MB`;
  const off = forecastBytes === undefined || countedBytes === undefined ? '–' : offBy(countedBytes / forecastBytes);
  return [megabytes(forecastBytes), megabytes(countedBytes), off];
}

/** How far a measurement is from its forecast. */
const offBy = (ratio: number): string => `${ratio > 1 ? '+' : ''}${percent(ratio - 1)}`;

/** A row for each config, with its loss at every fidelity that it reached. */
function configTable({ rungs, space }: PageTune): string {
  const paths = Object.keys(space);
  const order = [...new Set(rungs.toReversed().flatMap(({ trials }) => trials.map(({ config }) => config)))];
  const rows = order.map((config) => {
    const values = rungs[0]?.trials.find((trial) => trial.config === config)?.values ?? {};
    const losses = rungs.map(({ trials, kept }, i) => {
      const trial = trials.find((one) => one.config === config);
      if (trial === undefined) return '';
      if (!hasLoss(trial)) return escapeHtml(trial.status);
      const text = trial.loss.toFixed(4);
      const mark = kept.includes(config) && i < rungs.length - 1 ? '\u00a0→' : '';
      return `${trial === trials[0] ? `<b>${text}</b>` : text}${mark}`;
    });
    return [...paths.map((path) => valueText(values[path])), ...losses];
  });
  const ends = paths.map((path) => path.split('.').at(-1) ?? path);
  const heads = paths.map((path, i) => (ends.indexOf(ends[i]!) === ends.lastIndexOf(ends[i]!) ? ends[i]! : path));
  return table([...heads.map(escapeHtml), ...rungs.map(({ label }, i) => fidelity(label, i))], rows);
}

function failures({ rungs }: PageTune): string[] {
  const failed = rungs.flatMap(({ trials }) => trials.filter(({ error }) => error !== undefined));
  if (failed.length === 0) return [];
  const lines = failed.map(({ run, status, error }) => `<li>${escapeHtml(`${run}: ${status}, ${error}`)}</li>`);
  return [`<ul class="notes">${lines.join('')}</ul>`];
}

const fidelity = (label: string, index: number): string => `${index + 1}. ${escapeHtml(label)}`;

const hasLoss = (trial: PageTrial): trial is PageTrial & { loss: number } => Number.isFinite(trial.loss);

const headCell = (text: string): string => (text === '' ? '<td></td>' : `<th scope="col">${text}</th>`);

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  `<div class="scroll"><table><thead><tr>${head.map(headCell).join('')}</tr></thead><tbody>${rows.map((row) => `<tr>${row.map((cell) => `<td>${cell}</td>`).join('')}</tr>`).join('')}</tbody></table></div>`;
