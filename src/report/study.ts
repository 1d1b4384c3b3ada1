import type { PageData } from './data.js';
import { escapeHtml } from './html.js';
import type { PageInterval, PageStudy, PageStudyComparison } from './study-data.js';

/** What a reader has to expect of each control. */
const EXPECTED: Readonly<Record<string, string>> = {
  again: 'A/A, other seeds of scratch: the interval holds 0',
  untrained: 'd = 0, grown from an untrained base: no gain',
  rewarm: 'scratch that warms up again where growth would: no gain',
  cosine: 'scratch along a finished cosine: about the same cost',
  size: 'a smaller model from scratch',
};

/** No line breaks inside a number and its sign. */
const percent = (value: number): string =>
  Number.isFinite(value) ? `${value > 0 ? '+' : ''}${(100 * value).toFixed(1)}\u00a0%` : '–';
const interval = (found: PageInterval | null): string =>
  found === null
    ? '–'
    : `${percent(found.mean)}<br><span class="soft">[${percent(found.low)},\u00a0${percent(found.high)}]</span>`;
const mean = (values: readonly (number | null)[]): string => {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? '–' : (known.reduce((sum, value) => sum + value, 0) / known.length).toFixed(2);
};

/** Hypothesis, tables of arms, controls, ranking and rates of a study. */
export function studySection({ study }: PageData): string {
  if (study === undefined) return '';
  const { comparisons, bestSize, ranking, tuning, unfinished, cost } = study;
  const arms = comparisons.filter(({ role }) => role === 'arm');
  const controls = comparisons.filter(({ role }) => role !== 'arm');
  const tuningCost = `Tuning took ${cost.tuningFlops.toExponential(2)} FLOPs, which are not part of any arm; all other runs took ${cost.flops.toExponential(2)}.`;
  return [
    `<p><b>Hypothesis, written down before the runs.</b> ${escapeHtml(study.hypothesis)}</p>`,
    `<p><b>Stop rule.</b> ${escapeHtml(study.stopRule)}</p>`,
    `<ul class="notes">${study.parts.map((part) => `<li>${escapeHtml(part.name)}: ${part.nonEmbeddingParameters.toLocaleString('en-US')} non-embedding parameters; C is ${part.flops.toExponential(3)} FLOPs, ${part.tokens.toLocaleString('en-US')} tokens of scratch.</li>`).join('')}</ul>`,
    '<h2>Arms against scratch of the same architecture</h2>',
    comparisonTable(arms, () => ''),
    '<h2>Arms against the best scratch size</h2>',
    bestSize.length === 0
      ? '<p>No size brackets the losses of every seed.</p>'
      : comparisonTable(bestSize, ({ baseline }) => `best size: ${baseline}`),
    '<h2>Controls</h2>',
    comparisonTable(controls, ({ role }) => EXPECTED[role] ?? ''),
    ...(ranking.length === 0 ? [] : ['<h2>Ranking of arms</h2>', rankTable(ranking)]),
    ...(tuning.length === 0 ? [] : ['<h2>Learning rates</h2>', `<p>${tuningCost}</p>`, tuningTable(tuning)]),
    ...(unfinished.length === 0
      ? []
      : [
          `<ul class="notes">${unfinished.map(({ run, status, error = '' }) => `<li>${escapeHtml(`${run}: ${status}${error === '' ? '' : `, ${error}`}`)}</li>`).join('')}</ul>`,
        ]),
    `<p class="soft">Study ${escapeHtml(study.hash)}; every record of its runs carries this hash. Losses are validation losses at annealed end points; the cost of a loss is interpolated between scratch end points of the same seed and never extrapolated. 95 % t-intervals over seeds of log ratios.</p>`,
  ].join('\n');
}

function comparisonTable(
  comparisons: readonly PageStudyComparison[],
  note: (one: PageStudyComparison) => string,
): string {
  const rows = comparisons.map((one) => {
    const cells = [one.part, one.arm, `${one.budget}\u00a0C`].map((text) => escapeHtml(text.replaceAll('-', '\u2011')));
    const losses = one.seeds.map(({ loss }) => loss.toFixed(4)).join('<br>');
    const outcome = [interval(one.speedup), interval(one.saved), escapeHtml(one.verdict)];
    const conventions = [one.sixND, one.sixNDNonEmbedding].map(interval);
    const ratios = [mean(one.seeds.map((seed) => seed.tokensRatio)), mean(one.seeds.map((seed) => seed.secondsRatio))];
    return [...cells, losses, ...outcome, ...conventions, ...ratios, escapeHtml(note(one))];
  });
  const head = [
    'Part',
    'Arm',
    'Budget',
    'Losses',
    'Speedup',
    'Saved',
    'Verdict',
    'Speedup by 6 N D',
    'by 6 N<sub>non-embedding</sub> D',
    'Tokens ratio',
    'Seconds ratio',
    '',
  ];
  return table(head, rows);
}

const rankTable = (ranking: PageStudy['ranking']): string =>
  table(
    ['Part', 'Budget', 'Outcome', 'p (Holm)'],
    ranking.map(({ part, budget, better, worse, p, tie }) => [
      escapeHtml(part),
      `${budget} C`,
      escapeHtml(tie ? `${better} and ${worse}: a tie` : `${better} before ${worse}`),
      p.toPrecision(2),
    ]),
  );

const tuningTable = (tuning: PageStudy['tuning']): string =>
  table(
    ['Part', 'Model', 'Chosen', 'Trials (rate: loss)', ''],
    tuning.map(({ part, name, lr, baseLr, trials, atEdge }) => [
      escapeHtml(part),
      escapeHtml(name),
      lr === baseLr ? lr.toPrecision(3) : `${lr.toPrecision(3)}, base ${baseLr.toPrecision(3)}`,
      trials.map((trial) => `${trial.lr.toPrecision(3)}: ${trial.loss?.toFixed(4) ?? 'failed'}`).join('<br>'),
      atEdge ? 'at the edge of the range' : '',
    ]),
  );

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  `<div class="scroll"><table><thead><tr>${head.map((cell) => `<th scope="col" class="fit">${cell}</th>`).join('')}</tr></thead><tbody>${rows.map((row) => `<tr>${row.map((cell) => `<td class="fit">${cell}</td>`).join('')}</tr>`).join('')}</tbody></table></div>`;
