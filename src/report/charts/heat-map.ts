import type { PlotOptions } from '@observablehq/plot';
import type { PageData } from '../data.js';
import type { Chart, Plot, View } from './view.js';

/**
 * Final loss over growth tokens d and growth factor g: one cell for each pair that was run, the mean where several were.
 *
 * Only runs of one size and budget can be compared so: the size and budget with the most runs are shown.
 *
 * Self-contained: the page gets its source text.
 */
export function heatMapChart(Plot: Plot, { runs }: PageData, view: View, frame: Partial<PlotOptions>): Chart {
  const SAME_BUDGET = 1.03;
  const swept = runs.flatMap(({ growth, finalLoss, flops, parameters }) => {
    const [first] = growth;
    if (first === undefined || finalLoss === null || !Number.isFinite(finalLoss + first.factor)) return [];
    return [
      {
        d: Number(first.tokens.toPrecision(3)),
        g: Number(first.factor.toPrecision(2)),
        loss: finalLoss,
        flops,
        parameters,
      },
    ];
  });
  const near = (a: number, b: number): boolean => Math.max(a / b, b / a) <= SAME_BUDGET;
  const groups = swept.map((a) => swept.filter((b) => a.parameters === b.parameters && near(a.flops, b.flops)));
  const group = groups.reduce((most, next) => (next.length > most.length ? next : most), []);
  const cells = new Map<string, { d: number; g: number; sum: number; count: number }>();
  for (const { d, g, loss } of group) {
    const cell = cells.get(`${d} ${g}`) ?? { d, g, sum: 0, count: 0 };
    cells.set(`${d} ${g}`, { ...cell, sum: cell.sum + loss, count: cell.count + 1 });
  }
  const data = [...cells.values()].map(({ d, g, sum, count }) => ({ d, g, loss: sum / count, count }));
  type Cell = (typeof data)[number];
  const sorted = (values: number[]): number[] => [...new Set(values)].sort((a, b) => a - b);
  const middle = (Math.min(...data.map(({ loss }) => loss)) + Math.max(...data.map(({ loss }) => loss))) / 2;
  return Plot.plot({
    ...frame,
    width: view.width,
    height: view.height,
    marginLeft: 60,
    marginBottom: 42,
    padding: 0.05,
    color: { scheme: 'cividis', reverse: true },
    x: {
      type: 'band',
      domain: sorted(data.map(({ d }) => d)),
      label: 'growth tokens d',
      tickFormat: (value: number) => value.toExponential(1).replace('e+', 'e'),
    },
    y: { type: 'band', domain: sorted(data.map(({ g }) => g)).reverse(), label: 'growth factor g' },
    marks: [
      Plot.cell(data, { x: 'd', y: 'g', fill: 'loss' }),
      Plot.text(data, {
        x: 'd',
        y: 'g',
        text: (cell: Cell) => cell.loss.toFixed(3),
        fill: (cell: Cell) => (cell.loss < middle ? '#111111' : '#ffffff'),
      }),
    ],
  });
}
