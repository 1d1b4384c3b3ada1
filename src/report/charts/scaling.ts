import type { Markish, PlotOptions } from '@observablehq/plot';
import type { PageData } from '../data.js';
import type { Chart, Plot, View } from './view.js';

/**
 * Scaling laws: measured losses of each size, the fitted law with its band drawn beyond the measurements, and the envelope.
 *
 * Self-contained: the page gets its source text.
 */
export function scalingChart(Plot: Plot, { fit }: PageData, view: View, frame: Partial<PlotOptions>): Chart {
  const COLORS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8c8c8c'];
  const round = (value: number): string =>
    value >= 1e9 ? `${(value / 1e9).toPrecision(3)}B` : `${(value / 1e6).toPrecision(3)}M`;
  const marks: Markish[] = [Plot.gridY({ strokeOpacity: 0.12 }), Plot.gridX({ strokeOpacity: 0.08 })];
  (fit?.sizes ?? []).forEach((size, i) => {
    const color = COLORS[i % COLORS.length] ?? '#8c8c8c';
    const band = (size.irreducible ?? size.power)?.band ?? [];
    const name = `${round(size.params)}${size.grown ? ' grown' : ''}`;
    marks.push(
      Plot.areaY(band, { x: 'flops', y1: 'low', y2: 'high', fill: color, fillOpacity: 0.12 }),
      Plot.line(band, { x: 'flops', y: 'value', stroke: color, strokeDasharray: size.grown ? '6 3' : '' }),
      Plot.dot(size.points, { x: 'flops', y: 'loss', fill: color, r: 2.2 }),
      Plot.text(band.slice(-1), {
        x: 'flops',
        y: 'value',
        text: () => name,
        dx: 6,
        textAnchor: 'start',
        fill: color,
        fontWeight: 600,
      }),
    );
    if (view.interactive)
      marks.push(
        Plot.tip(
          size.points,
          Plot.pointer({
            x: 'flops',
            y: 'loss',
            title: (point: { flops: number; loss: number }) =>
              `${name}\nloss ${point.loss.toFixed(4)}\n${point.flops.toExponential(2)} FLOPs`,
          }),
        ),
      );
  });
  marks.push(
    Plot.line(fit?.envelope.power?.band ?? [], {
      x: 'flops',
      y: 'value',
      stroke: 'currentColor',
      strokeWidth: 1.5,
      strokeDasharray: '2 3',
    }),
  );
  return Plot.plot({
    ...frame,
    width: view.width,
    height: view.height,
    marginLeft: 52,
    marginBottom: 42,
    marginRight: 120,
    x: {
      type: view.logX ? 'log' : 'linear',
      label: 'FLOPs (6 N D)',
      tickFormat: (value: number) => value.toExponential(0).replace('e+', 'e'),
      ticks: 6,
    },
    y: { type: view.logY ? 'log' : 'linear', label: 'validation loss', tickFormat: '.2~f' },
    marks,
  });
}
