import type { PlotOptions } from '@observablehq/plot';
import type { PageData } from '../data.js';
import type { Chart, Plot, View } from './view.js';

/**
 * Final loss over growth tokens d and growth factor g: one cell for each pair that was run, the mean where several were.
 *
 * Self-contained: the page gets its source text.
 */
export function heatMapChart(Plot: Plot, { runs }: PageData, view: View, frame: Partial<PlotOptions>): Chart {
  const cells = new Map<string, { d: number; g: number; sum: number; count: number }>();
  for (const { growth, finalLoss } of runs) {
    const [first] = growth;
    if (first === undefined || finalLoss === null || !Number.isFinite(finalLoss) || !Number.isFinite(first.factor))
      continue;
    const d = Number(first.tokens.toPrecision(3));
    const g = Number(first.factor.toPrecision(2));
    const cell = cells.get(`${d} ${g}`) ?? { d, g, sum: 0, count: 0 };
    cells.set(`${d} ${g}`, { ...cell, sum: cell.sum + finalLoss, count: cell.count + 1 });
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
