import type { PageComparison, PageData, PageRun } from './data.js';
import { escapeHtml, swatch } from './html.js';

const percent = (value: number | null | undefined): string =>
  value === null || value === undefined || !Number.isFinite(value) ? '–' : `${(100 * value).toFixed(1)} %`;
const signed = (value: number | null | undefined): string => `${(value ?? 0) > 0 ? '+' : ''}${percent(value)}`;
const loss = (value: number | null): string => (value === null || !Number.isFinite(value) ? '–' : value.toFixed(4));
const large = (value: number): string => (value > 0 ? value.toExponential(3).replace('e+', 'e') : '–');

/** The runs, and what each saved. */
export function runTable({ runs, comparison }: PageData): string {
  const byFolder = new Map(comparison?.runs.map((result) => [result.run, result]));
  const rows = runs.map((run) => {
    const result = byFolder.get(run.folder);
    const at = result?.atEqualLoss;
    const isBaseline = comparison?.baseline.split(', ').includes(run.folder) === true;
    const outcome =
      at !== null && at !== undefined
        ? `<td>${signed(at.speedup)}</td><td>${signed(at.saved)}</td><td>${loss(at.loss)}</td>`
        : `<td class="text" colspan="3">${isBaseline ? 'baseline' : escapeHtml(result?.reason ?? '–')}</td>`;
    const annealed = result === undefined ? '' : result.annealed ? 'yes' : 'no';
    return `<tr><td>${swatch(run.color, run.dash)}${escapeHtml(run.label)}</td><td>${loss(run.finalLoss)}</td><td>${large(run.flops)}</td><td>${large(run.tokens)}</td>${outcome}<td>${annealed}</td></tr>`;
  });
  return table(['Run', 'Final loss', 'FLOPs', 'Tokens', 'Speedup', 'Saved', 'At loss', 'Annealed'], rows);
}

/** The speedups under the three ways of counting FLOPs. */
export function conventionTable(comparison: PageComparison, runs: readonly PageRun[]): string {
  if (comparison.conventions.length === 0) return '';
  const label = new Map(runs.map((run) => [run.folder, run.label]));
  const rows = comparison.conventions.map(
    ({ run, exact, sixND, sixNDNonEmbedding, verdict }) =>
      `<tr><td>${escapeHtml(label.get(run) ?? run)}</td><td>${signed(exact)}</td><td>${signed(sixND)}</td><td>${signed(sixNDNonEmbedding)}</td><td>${verdict}</td></tr>`,
  );
  return `<h2>Ways of counting FLOPs</h2>${table(['Run', 'Exact', '6 N D', '6 N<sub>non-embedding</sub> D', 'Verdict'], rows)}`;
}

/** Arms by their mean speedup over seeds, and which of them differ beyond noise. */
export function armTable({ arms = [], ranking = [] }: PageComparison): string {
  if (arms.length === 0) return '';
  const rows = arms.map(({ arm, runs, mean, speedup, leftOut }) => {
    const interval = speedup === null ? '–' : `${signed(speedup.low)} to ${signed(speedup.high)}`;
    const saved = mean === null ? '–' : signed(1 - 1 / (1 + mean));
    const note = escapeHtml(leftOut[0]?.reason ?? '');
    return `<tr><td>${escapeHtml(arm)}</td><td>${runs}</td><td>${signed(mean)}</td><td>${interval}</td><td>${saved}</td><td class="text">${note}</td></tr>`;
  });
  const better = ranking.filter(({ tie }) => !tie);
  const order = better.map(
    ({ better: one, worse, p }) => `${escapeHtml(one)} before ${escapeHtml(worse)} (p = ${p.toPrecision(2)})`,
  );
  const sentence =
    ranking.length === 0
      ? ''
      : `<p class="soft">Paired tests over seeds, Holm-corrected: ${better.length} of ${ranking.length} pairs differ, the others tie.${order.length === 0 ? '' : ` ${order.join('; ')}.`}</p>`;
  return `<h2>Arms</h2>${table(['Arm', 'Runs', 'Speedup', '95 % interval', 'Saved', ''], rows)}${sentence}`;
}

const MOST_SENTENCES = 3;

/** The sentences that a reader should take along: what was compared, what came out, at which loss, what was counted. */
export function headline({ runs, comparison }: PageData): string {
  if (comparison === null) return '';
  const label = new Map(runs.map((run) => [run.folder, run.label]));
  const nameOf = (folder: string): string => escapeHtml(label.get(folder) ?? folder);
  const baselines = comparison.baseline.split(', ');
  const against = baselines.length === 1 ? nameOf(baselines[0] ?? '') : 'its baseline';
  const measured = comparison.mode === 'paper' ? 'smoothed training loss' : 'validation loss';
  const found = comparison.runs.flatMap(({ run, atEqualLoss: at }) => (at === null ? [] : [{ run, at }]));
  const sentences = found
    .slice(0, MOST_SENTENCES)
    .map(
      ({ run, at }) =>
        `<b>${nameOf(run)}</b> against ${against}: <b>${signed(at.speedup)} speedup, ${signed(at.saved)} of the FLOPs saved</b> ` +
        `at ${measured} ${loss(at.loss)} (${large(at.runFlops)} FLOPs instead of ${large(at.baselineFlops)}).`,
    );
  if (found.length > MOST_SENTENCES) sentences.push(`${found.length - MOST_SENTENCES} more in the table.`);
  // One seed decides nothing where others have several.
  const best = comparison.arms?.find(({ speedup }) => speedup !== null) ?? comparison.arms?.[0];
  if (best !== undefined && best.mean !== null)
    return `<div class="headline">Best of ${comparison.arms?.length} arms${best.speedup === null ? '' : ', among those of several seeds'}, by mean speedup: <b>${escapeHtml(best.arm)}, ${signed(best.mean)}</b>${best.speedup === null ? ' (one seed)' : `, 95 % interval ${signed(best.speedup.low)} to ${signed(best.speedup.high)}`}.<p class="soft counted">The training of base models is counted. Speedup: FLOPs of the baseline over FLOPs of the run, less 1.</p></div>`;
  const interval = comparison.groups?.speedup;
  if (interval !== null && interval !== undefined)
    sentences.unshift(
      `Over ${comparison.groups?.seeds.length} seeds: <b>${signed(interval.mean)} speedup</b>, 95 % interval ${signed(interval.low)} to ${signed(interval.high)}` +
        `${interval.low <= 0 && interval.high >= 0 ? ', which holds 0: <b>undecided</b>' : ''}.`,
    );
  if (sentences.length === 0) return '';
  return `<div class="headline">${sentences.join('<br>')}<p class="soft counted">The training of base models is counted. Speedup: FLOPs of the baseline over FLOPs of the run, less 1.</p></div>`;
}

/** Notes on the comparison and on what was wrong with the records. */
export function notes({ runs, comparison }: PageData): string {
  const lines = [
    ...(comparison?.notes ?? []),
    ...runs.flatMap(({ label, problems }) => problems.map((problem) => `${label}: ${problem}.`)),
  ];
  return lines.length === 0
    ? ''
    : `<ul class="notes">${lines.map((line) => `<li>${escapeHtml(line)}</li>`).join('')}</ul>`;
}

/** Config, machine, versions and notes of each run, folded away; on a live page the notes can be written. */
export function runDetails(runs: readonly PageRun[], live: boolean): string {
  return runs
    .map(({ label, folder, facts, config, notes: written }) => {
      const list = facts.map(([name, value]) => `<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd>`).join('');
      const note = live
        ? `<p><label>Notes<br><textarea rows="3" data-notes="${escapeHtml(folder)}">${escapeHtml(written)}</textarea></label></p>`
        : written === ''
          ? ''
          : `<p>${escapeHtml(written).replaceAll('\n', '<br>')}</p>`;
      return `<details data-details="${escapeHtml(folder)}"><summary>${escapeHtml(label)}</summary>${note}<dl>${list}</dl>${config === '' ? '' : `<pre>${escapeHtml(config)}</pre>`}</details>`;
    })
    .join('');
}

/** Check boxes that show and hide runs. */
export const legend = (runs: readonly PageRun[]): string =>
  runs
    .map(
      ({ folder, label, color, dash }) =>
        `<label><input type="checkbox" checked data-run="${escapeHtml(folder)}">${swatch(color, dash)}${escapeHtml(label)}</label>`,
    )
    .join('');

const table = (head: readonly string[], rows: readonly string[]): string =>
  `<div class="scroll"><table><thead><tr>${head.map((cell) => `<th scope="col">${cell}</th>`).join('')}</tr></thead><tbody>${rows.join('')}</tbody></table></div>`;
