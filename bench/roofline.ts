import type { PlotOptions } from '@observablehq/plot';
import type { MachineLimits } from '../src/engine/limits.js';
import type { Chart, Plot, View } from '../src/report/charts/view.js';
import { renderSvg } from '../src/report/render.js';
import type { BenchFigure } from './types.js';

/** A kernel on the roofline: work per byte moved, and what it reached. */
export interface RooflinePoint {
  readonly op: string;
  readonly flopsPerByte: number;
  readonly flopsPerSecond: number;
  readonly bytesPerSecond: number;
}

const SIZE: View = {
  ...{ width: 860, height: 480, logX: true, logY: true },
  ...{ whole: true, x: 'flops', interactive: false, labels: true },
};

interface Input {
  readonly points: readonly RooflinePoint[];
  readonly limits: MachineLimits;
}

/** Kernels against the machine's limits: products under the roof of arithmetic and memory, all others by bandwidth. */
export function rooflineFigures(points: readonly RooflinePoint[], limits: MachineLimits): BenchFigure[] {
  const products = points.filter(({ flopsPerSecond }) => flopsPerSecond > 0);
  const others = points.filter(({ flopsPerSecond }) => flopsPerSecond === 0);
  const figure = (name: string, title: string, draw: typeof drawRoofline, shown: readonly RooflinePoint[]) =>
    shown.length === 0
      ? []
      : [{ name, title, svg: renderSvg({ id: name, title, draw, input: { points: shown, limits } }, SIZE) }];
  return [
    ...figure('roofline', 'Kernels with products under the roof of the machine', drawRoofline, products),
    ...figure('bandwidth', 'Kernels without products against the bandwidth of copies', drawBandwidth, others),
  ];
}

/** The roofline model (Williams, Waterman and Patterson, CACM 52(4), 2009). */
function drawRoofline(plot: Plot, { points, limits }: Input, view: View, frame: Partial<PlotOptions>): Chart {
  const intensities = points.map(({ flopsPerByte }) => flopsPerByte);
  const [low, high] = [Math.min(...intensities, limits.f32 / limits.copy) / 2, Math.max(...intensities) * 2];
  const roof = (flops: number) =>
    [low, flops / limits.copy, high].map((x) => ({ x, y: Math.min(flops, limits.copy * x) / 1e9 }));
  const line = (flops: number, name: string) => [
    plot.line(roof(flops), { x: 'x', y: 'y', stroke: 'currentColor', strokeWidth: 1.5 }),
    plot.text([{ x: high, y: flops / 1e9 }], { x: 'x', y: 'y', text: () => name, textAnchor: 'end', dy: -8 }),
  ];
  return plot.plot({
    ...frame,
    ...{ width: view.width, height: view.height, marginLeft: 60, marginRight: 160, marginBottom: 44 },
    x: { type: 'log', label: 'FLOPs per byte of inputs and outputs', domain: [low, high], tickFormat: '~s' },
    y: { type: 'log', label: 'GFLOP/s', grid: true, tickFormat: '~s' },
    color: { legend: false, scheme: 'Tableau10' },
    marks: [
      line(limits.f32, `f32, ${(limits.f32 / 1e9).toFixed(0)} GFLOP/s`),
      limits.bf16 === undefined
        ? []
        : line(limits.bf16.flops, `bf16 (${limits.bf16.by}), ${(limits.bf16.flops / 1e9).toFixed(0)} GFLOP/s`),
      plot.dot(points, { x: 'flopsPerByte', y: (p: RooflinePoint) => p.flopsPerSecond / 1e9, fill: 'op', r: 4 }),
      plot.text(namedOnce(points), {
        x: 'flopsPerByte',
        y: (p: RooflinePoint) => p.flopsPerSecond / 1e9,
        text: 'op',
        fill: 'op',
        textAnchor: 'start',
        dx: 8,
      }),
    ],
  });
}

function drawBandwidth(plot: Plot, { points, limits }: Input, view: View, frame: Partial<PlotOptions>): Chart {
  return plot.plot({
    ...frame,
    ...{
      width: view.width,
      height: 60 + 22 * new Set(points.map(({ op }) => op)).size,
      marginLeft: 160,
      marginTop: 34,
    },
    x: {
      label: 'GB/s of inputs and outputs',
      grid: true,
      domain: [0, Math.max(limits.copy, ...points.map((p) => p.bytesPerSecond)) / 1e9],
    },
    y: { label: null },
    marks: [
      plot.ruleX([limits.copy / 1e9], { strokeWidth: 1.5 }),
      plot.text([limits.copy / 1e9], { x: (x: number) => x, frameAnchor: 'top', dy: -14, text: () => 'copies' }),
      plot.dot(points, { x: (p: RooflinePoint) => p.bytesPerSecond / 1e9, y: 'op', fill: 'op', r: 4 }),
    ],
  });
}

/** The point of each op that reached most: it carries the name. */
const namedOnce = (points: readonly RooflinePoint[]): RooflinePoint[] =>
  [...new Set(points.map(({ op }) => op))].map(
    (op) => points.filter((point) => point.op === op).sort((a, b) => b.flopsPerSecond - a.flopsPerSecond)[0]!,
  );
