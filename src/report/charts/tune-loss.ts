import type { Markish, PlotOptions } from '@observablehq/plot';
import type { PageData } from '../data.js';
import type { Chart, Plot, View } from './view.js';

/**
 * Loss against one value of a search: a curve for each fidelity, its best marked, with a key above.
 *
 * Self-contained: the page gets its source text.
 */
export function tuneLossChart(Plot: Plot, { tune }: PageData, view: View, frame: Partial<PlotOptions>): Chart {
  const COLORS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8c8c8c'];
  const SYMBOLS = ['circle', 'triangle', 'square', 'diamond', 'star', 'wye', 'cross'] as const;
  const [KEY_LINE, KEY_SPACE, LEFT, TICK_SPACE, NARROW] = [18, 24, 56, 70, 520];
  const path = view.field ?? '';
  const rungs = tune?.rungs ?? [];
  const short = (value: unknown): string =>
    typeof value === 'number' ? String(Number(value.toPrecision(4))) : String(value);
  const trials = rungs.flatMap((rung, i) =>
    rung.trials.map((trial, rank) => ({
      ...trial,
      rung: i,
      rank,
      value: trial.values[path]!,
      loss: trial.loss ?? NaN,
    })),
  );
  type Point = (typeof trials)[number];
  const points = trials.filter(({ loss }) => Number.isFinite(loss));
  const failed = trials.filter(({ status }) => status === 'failed');
  const isNumeric = trials.every(({ value }) => typeof value === 'number');
  const values = [...new Set(trials.map(({ value }) => value))];
  const isOne = Object.keys(tune?.space ?? {}).length === 1;
  const top = KEY_SPACE + KEY_LINE * rungs.length;
  const marks: Markish[] = [Plot.gridY({ strokeOpacity: 0.12 })];
  rungs.forEach((rung, i) => {
    const color = COLORS[i % COLORS.length] ?? '#8c8c8c';
    const symbol = SYMBOLS[i % SYMBOLS.length] ?? 'circle';
    const own = points.filter((point) => point.rung === i).sort((a, b) => a.loss - b.loss);
    const best = own.slice(0, 1);
    const line = values.flatMap((value) => own.find((point) => point.value === value) ?? []);
    if (isNumeric) line.sort((a, b) => Number(a.value) - Number(b.value));
    const at = { frameAnchor: 'top-left', dy: KEY_LINE / 2 - top + KEY_LINE * i + 2 } as const;
    const outcome = best.map(({ value, loss }) => `: best ${loss.toFixed(4)} at ${short(value)}`).join('');
    marks.push(
      ...(isOne || line.length < own.length
        ? [Plot.line(line, { x: 'value', y: 'loss', stroke: color, strokeWidth: 1.5, strokeOpacity: 0.8 })]
        : []),
      Plot.ruleX(best, { x: 'value', stroke: color, strokeDasharray: '3 4', strokeOpacity: 0.7 }),
      Plot.dot(own, { x: 'value', y: 'loss', symbol, fill: color, r: 4 }),
      Plot.dot(best, { x: 'value', y: 'loss', stroke: color, strokeWidth: 2, r: 9 }),
      Plot.dot(
        failed.filter((point) => point.rung === i),
        { x: 'value', frameAnchor: 'top', symbol: 'times', stroke: color, strokeWidth: 2, r: 4, dy: 6 },
      ),
      Plot.dot([0], { ...at, dx: 8 - LEFT, symbol, fill: color, r: 4 }),
      Plot.text([`${i + 1}. ${rung.label}${view.width < NARROW ? '' : outcome}`], {
        ...at,
        dx: 18 - LEFT,
        fill: 'currentColor',
        lineAnchor: 'middle',
      }),
    );
  });
  if (view.interactive)
    marks.push(
      Plot.tip(
        points,
        Plot.pointer({
          x: 'value',
          y: 'loss',
          title: (point: Point) =>
            [
              `${point.rung + 1}. ${rungs[point.rung]?.label ?? ''}`,
              ...Object.entries(point.values).map(([name, value]) => `${name} ${short(value)}`),
              `loss ${point.loss.toFixed(4)}, number ${point.rank + 1}`,
            ].join('\n'),
        }),
      ),
    );
  const numbers = values.map(Number);
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  const isLog = isNumeric && view.logX && low > 0;
  if (isLog) {
    const first = Math.floor(Math.log10(low));
    const decades = Array.from({ length: Math.ceil(Math.log10(high / low)) + 2 }, (_, i) => first + i);
    const ticksOf = (steps: readonly number[]): number[] =>
      decades
        .flatMap((decade) => steps.map((step) => Number(`${step}e${decade}`)))
        .filter((tick) => tick >= low && tick <= high);
    const choices = [[1, 2, 5], [1, 3], [1]].map(ticksOf);
    const ticks = choices.find((some) => some.length > 1 && some.length * TICK_SPACE <= view.width) ?? [low, high];
    // A logarithmic scale leaves out labels of its own choice, unless they are given as text.
    marks.push(Plot.axisX(ticks, { text: ticks.map(short), label: path }));
  }
  return Plot.plot({
    ...frame,
    width: view.width,
    height: view.height,
    marginLeft: LEFT,
    marginTop: top,
    marginBottom: 42,
    // Crosses of failed runs have the top to themselves.
    insetBottom: 8,
    insetTop: failed.length > 0 ? KEY_LINE : 0,
    x: {
      ...(isNumeric ? { type: isLog ? 'log' : 'linear' } : { type: 'point', domain: values }),
      label: path,
      inset: 14,
      tickFormat: short,
      ...(isLog ? { axis: null } : {}),
      ...(isNumeric ? { ticks: Math.floor(view.width / TICK_SPACE) } : {}),
    },
    y: { label: null, nice: true, tickFormat: '.3~f' },
    marks,
  });
}
