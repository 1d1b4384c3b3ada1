import type { PageComparison, PageData, PageRun } from './data.js';
import { escapeHtml, swatch } from './html.js';

const percent = (value: number | null | undefined): string =>
  value === null || value === undefined || !Number.isFinite(value) ? '–' : `${(100 * value).toFixed(1)} %`;
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
        ? `<td>${percent(at.speedup)}</td><td>${percent(at.saved)}</td><td>${loss(at.loss)}</td>`
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
      `<tr><td>${escapeHtml(label.get(run) ?? run)}</td><td>${percent(exact)}</td><td>${percent(sixND)}</td><td>${percent(sixNDNonEmbedding)}</td><td>${verdict}</td></tr>`,
  );
  return `<h2>Ways of counting FLOPs</h2>${table(['Run', 'Exact', '6 N D', '6 N<sub>non-embedding</sub> D', 'Verdict'], rows)}`;
}

/** The sentence that a reader should take along. */
export function headline({ runs, comparison }: PageData): string {
  if (comparison === null) return '';
  const label = new Map(runs.map((run) => [run.folder, run.label]));
  const sentences = comparison.runs
    .slice(0, 3)
    .flatMap(({ run, atEqualLoss: at }) =>
      at === null
        ? []
        : [
            `<b>${escapeHtml(label.get(run) ?? run)}</b> reached loss ${loss(at.loss)} with ${large(at.runFlops)} FLOPs, the baseline with ${large(at.baselineFlops)}: ` +
              `<b>${percent(at.speedup)} speedup, ${percent(at.saved)} saved</b>.`,
          ],
    );
  const interval = comparison.groups?.speedup;
  if (interval !== null && interval !== undefined)
    sentences.push(
      `Over ${comparison.groups?.seeds.length} seeds: ${percent(interval.mean)} (95 % interval ${percent(interval.low)} to ${percent(interval.high)}).`,
    );
  return sentences.length === 0 ? '' : `<p class="headline">${sentences.join('<br>')}</p>`;
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
