import type { PlotOptions } from '@observablehq/plot';
import type { PageData } from '../data.js';
import type { Chart, Plot, View } from './view.js';

/**
 * What the measured losses have above their scaling law, in per cent: a pattern says that the law's form is wrong.
 *
 * Self-contained: the page gets its source text.
 */
export function residualsChart(Plot: Plot, { fit }: PageData, view: View, frame: Partial<PlotOptions>): Chart {
  const COLORS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8c8c8c'];
  const points = (fit?.sizes ?? []).flatMap((size, i) => {
    const law = size.irreducible ?? size.power;
    const color = COLORS[i % COLORS.length] ?? '#8c8c8c';
    return law === null
      ? []
      : size.points.map(({ flops }, p) => ({ flops, above: 100 * (law.residuals[p] ?? NaN), color }));
  });
  return Plot.plot({
    ...frame,
    width: view.width,
    height: view.height,
    marginLeft: 52,
    marginBottom: 42,
    color: { type: 'identity' },
    x: {
      type: view.logX ? 'log' : 'linear',
      label: 'FLOPs (6 N D)',
      tickFormat: (value: number) => value.toExponential(0).replace('e+', 'e'),
      ticks: 6,
    },
    y: { label: 'loss above the law (%)', nice: true },
    marks: [
      Plot.gridY({ strokeOpacity: 0.12 }),
      Plot.ruleY([0], { stroke: 'currentColor', strokeOpacity: 0.6 }),
      Plot.dot(points, { x: 'flops', y: 'above', fill: 'color', r: 2.5 }),
    ],
  });
}
