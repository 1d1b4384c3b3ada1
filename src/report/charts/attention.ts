import type { PlotOptions } from '@observablehq/plot';
import type { Chart, Plot, View } from './view.js';

/** What the chart draws of a model's attention: per layer and head, numbers between 1 and `length`. */
export interface AttentionFigureInput {
  readonly length: number;
  readonly layers: readonly {
    readonly layer: number;
    readonly heads: readonly { readonly rank: number; readonly columns: number }[];
  }[];
}

/** Approximate rank and column mass of every head: one cell for each layer and head, dark where attention has collapsed. */
export function attentionChart(
  Plot: Plot,
  { length, layers }: AttentionFigureInput,
  view: View,
  frame: Partial<PlotOptions>,
): Chart {
  const DIGITS_FROM = 10;
  const cells = layers.flatMap(({ layer, heads }) =>
    heads.flatMap(({ rank, columns }, head) => [
      { layer, head, value: rank, measure: 'approximate rank' },
      { layer, head, value: columns, measure: 'columns with 90 % of the mass' },
    ]),
  );
  type Cell = (typeof cells)[number];
  return Plot.plot({
    ...frame,
    width: view.width,
    height: view.height,
    marginLeft: 50,
    marginTop: 46,
    marginBottom: 42,
    padding: 0.05,
    color: { scheme: 'viridis', domain: [1, length], label: `of ${length}`, type: 'log' },
    fx: { label: null, domain: ['approximate rank', 'columns with 90 % of the mass'] },
    x: { type: 'band', label: 'head' },
    y: { type: 'band', label: 'layer', reverse: true },
    marks: [
      Plot.cell(cells, { fx: 'measure', x: 'head', y: 'layer', fill: 'value' }),
      Plot.text(cells, {
        fx: 'measure',
        x: 'head',
        y: 'layer',
        text: (cell: Cell) => cell.value.toFixed(cell.value < DIGITS_FROM ? 1 : 0),
        fill: (cell: Cell) => (cell.value < Math.sqrt(length) ? '#ffffff' : '#111111'),
      }),
    ],
  });
}
