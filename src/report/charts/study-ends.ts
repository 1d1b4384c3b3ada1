import type { PlotOptions } from '@observablehq/plot';
import type { PageData } from '../data.js';
import type { Chart, Plot, View } from './view.js';

/**
 * Annealed end points of a study: loss against FLOPs, a dot for each seed, a line through the means of each arm.
 *
 * Self-contained: the page gets its source text.
 */
export function studyEndsChart(Plot: Plot, { study }: PageData, view: View, frame: Partial<PlotOptions>): Chart {
  const COLORS = ['#8c8c8c', '#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'];
  const roles = ['scratch', 'arm', 'size'];
  const shown = (study?.endPoints ?? []).filter(({ role }) => roles.includes(role));
  const several = new Set(shown.map(({ part }) => part)).size > 1;
  const points = shown.map((end) => ({ ...end, label: several ? `${end.part} ${end.arm}` : end.arm }));
  const labels = [...new Set(points.map(({ label }) => label))];
  const means = labels.flatMap((label) => {
    const own = points.filter((point) => point.label === label);
    return [...new Set(own.map(({ budget }) => budget))]
      .map((budget) => own.filter((point) => point.budget === budget))
      .map((same) => ({
        label,
        flops: Math.exp(same.reduce((sum, { flops }) => sum + Math.log(flops), 0) / same.length),
        loss: same.reduce((sum, { loss }) => sum + loss, 0) / same.length,
      }))
      .sort((a, b) => a.flops - b.flops);
  });
  return Plot.plot({
    ...frame,
    width: view.width,
    height: view.height,
    marginBottom: 42,
    marginRight: 120,
    x: {
      type: view.logX ? 'log' : 'linear',
      label: 'FLOPs, everything included',
      tickFormat: (value: number) => value.toExponential(0).replace('e+', 'e'),
    },
    y: {
      type: view.logY ? 'log' : 'linear',
      label: 'validation loss at the annealed end',
      ticks: 8,
      tickFormat: '.2f',
      grid: true,
    },
    color: { domain: labels, range: labels.map((_, i) => COLORS[i % COLORS.length] as string) },
    marks: [
      Plot.line(means, { x: 'flops', y: 'loss', z: 'label', stroke: 'label', strokeWidth: 1.5 }),
      Plot.dot(points, { x: 'flops', y: 'loss', fill: 'label', r: 3, fillOpacity: 0.75 }),
      Plot.text(
        means,
        Plot.selectLast({
          x: 'flops',
          y: 'loss',
          z: 'label',
          text: 'label',
          fill: 'label',
          dx: 8,
          textAnchor: 'start',
        }),
      ),
      ...(view.interactive
        ? [
            Plot.tip(
              points,
              Plot.pointer({
                x: 'flops',
                y: 'loss',
                title: (point: (typeof points)[number]) =>
                  `${point.label}, seed ${point.seed}, ${point.budget} C\nloss ${point.loss.toFixed(4)}`,
              }),
            ),
          ]
        : []),
    ],
  });
}
