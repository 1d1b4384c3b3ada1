import type { Markish, PlotOptions } from '@observablehq/plot';
import type { PageData } from '../data.js';
import type { Chart, Plot, View } from './view.js';

/**
 * Iso-FLOP curves: loss against growth tokens at equal size and budget, each with its parabola and the minimum with its interval.
 *
 * Self-contained: the page gets its source text.
 */
export function isoFlopChart(Plot: Plot, { fit }: PageData, view: View, frame: Partial<PlotOptions>): Chart {
  const COLORS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8c8c8c'];
  const STEPS = 40;
  const round = (value: number): string =>
    value >= 1e9 ? `${(value / 1e9).toPrecision(3)}B` : `${(value / 1e6).toPrecision(3)}M`;
  const marks: Markish[] = [Plot.gridY({ strokeOpacity: 0.12 })];
  (fit?.isoFlop ?? []).forEach((group, i) => {
    const color = COLORS[i % COLORS.length] ?? '#8c8c8c';
    const logs = group.points.map(({ choice }) => Math.log10(choice));
    const [low, high] = [Math.min(...logs), Math.max(...logs)];
    const [c0, c1, c2] = group.coefficients;
    const at = (x: number): { choice: number; loss: number } => ({ choice: 10 ** x, loss: c0 + c1 * x + c2 * x * x });
    const parabola = Array.from({ length: STEPS + 1 }, (_, step) => at(low + ((high - low) * step) / STEPS));
    const best = {
      ...at(Math.log10(group.best.value)),
      low: Math.max(group.best.low, 10 ** low),
      high: Math.min(group.best.high, 10 ** high),
    };
    const factor = group.fixed === undefined ? '' : `, g = ${group.fixed.toPrecision(2)}`;
    const name = `${round(group.params)}, ${group.flops.toExponential(1).replace('e+', 'e')} FLOPs${factor}`;
    marks.push(
      Plot.line(parabola, { x: 'choice', y: 'loss', stroke: color }),
      Plot.dot(group.points, { x: 'choice', y: 'loss', fill: color, r: 2.5 }),
      Plot.text(parabola.slice(-1), {
        x: 'choice',
        y: 'loss',
        text: () => name,
        dx: 6,
        textAnchor: 'start',
        fill: color,
      }),
    );
    if (group.bracketed)
      marks.push(
        Plot.ruleY([best], { x1: 'low', x2: 'high', y: 'loss', stroke: color, strokeWidth: 2, strokeOpacity: 0.6 }),
        Plot.dot([best], {
          x: 'choice',
          y: 'loss',
          symbol: 'diamond',
          r: 6,
          fill: color,
          stroke: 'var(--ground, white)',
        }),
      );
  });
  return Plot.plot({
    ...frame,
    width: view.width,
    height: view.height,
    marginLeft: 52,
    marginBottom: 42,
    marginRight: 190,
    x: {
      type: view.logX ? 'log' : 'linear',
      label: 'growth tokens d',
      tickFormat: (value: number) => value.toExponential(0).replace('e+', 'e'),
      ticks: 6,
    },
    y: { label: 'final validation loss', nice: true, tickFormat: '.3~f' },
    marks,
  });
}
