import type { Markish, PlotOptions } from '@observablehq/plot';
import type { CurvePoint, PageData, PageRun } from '../data.js';
import type { Chart, Plot, View } from './view.js';

/**
 * Loss against FLOPs or tokens: training curves, validation points, growth moments, and the speedup at equal loss.
 *
 * Self-contained: the page gets its source text, hence the functions inside the function.
 */
export function lossChart(Plot: Plot, data: PageData, view: View, frame: Partial<PlotOptions>): Chart {
  const { runs, comparison } = data;
  const axis = view.x === 'flops' ? 0 : 1;
  const x = (point: CurvePoint): number => point[axis];
  const y = (point: CurvePoint): number => point[2];
  const HALO = 'var(--ground, white)';
  const MARGIN = { top: 20, right: view.labels ? 120 : 24, bottom: 42, left: 52 };
  const minimum = (values: readonly number[]): number => values.reduce((a, b) => Math.min(a, b), Infinity);
  const maximum = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b), -Infinity);

  // A run's first hundredth says little and would take a third of a logarithmic axis.
  const range = (): { from: number; to: number; bottom: number; top: number } => {
    const points = runs.flatMap((run) => [...run.train, ...run.validation]).filter((point) => x(point) > 0);
    if (points.length === 0) return { from: 1, to: 10, bottom: 1, top: 10 };
    const to = maximum(points.map(x));
    const from = view.whole ? minimum(points.map(x)) : Math.max(minimum(points.map(x)), to / 100);
    const peaks = runs.flatMap((run) => run.growth.filter((moment) => moment[view.x] >= from && moment.loss > 0));
    const losses = [...points.filter((point) => x(point) >= from).map(y), ...peaks.map(({ loss }) => loss)];
    const pad = (maximum(losses) - minimum(losses)) * 0.06 || 0.1;
    return { from, to, bottom: Math.max(minimum(losses) - pad, minimum(losses) * 0.9), top: maximum(losses) + pad };
  };
  const { from, to, bottom, top } = range();

  const lossTicks = (): number[] => {
    const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5].find((size) => (top - bottom) / size <= 9) ?? 10;
    const first = Math.ceil(bottom / step);
    const last = Math.floor(top / step);
    return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => Number(((first + i) * step).toFixed(2)));
  };

  const curves = (run: PageRun): Markish[] => {
    const line = { x, y, stroke: run.color, strokeDasharray: run.dash, clip: true } as const;
    const dots = run.validation.length <= 60 && runs.length <= 12 ? run.validation : [];
    return [
      Plot.line(run.train, { ...line, strokeWidth: 1, strokeOpacity: 0.45 }),
      Plot.line(run.validation, { ...line, strokeWidth: 2 }),
      Plot.dot(dots, { x, y, fill: run.color, r: 2.2, clip: true }),
    ];
  };

  const growths = (run: PageRun): Markish[] => {
    const moments = run.growth.filter((moment) => moment[view.x] >= from && moment.loss <= top);
    const at = { x: view.x, y: 'loss' } as const;
    const words = runs.length <= 6 ? moments : [];
    return [
      Plot.dot(moments, { ...at, symbol: 'triangle', r: 6, fill: run.color, stroke: HALO }),
      Plot.text(words, {
        ...at,
        text: (moment: { operator: string }) => moment.operator,
        dx: 9,
        textAnchor: 'start',
        fill: run.color,
        stroke: HALO,
      }),
    ];
  };

  // Names at the right edge, moved apart where lines end close together.
  const names = (): Markish[] => {
    const bend = (loss: number): number => (view.logY ? Math.log(loss) : loss);
    const height = view.height - MARGIN.top - MARGIN.bottom;
    const pixel = (point: CurvePoint): number => ((bend(top) - bend(y(point))) / (bend(top) - bend(bottom))) * height;
    const ends = runs
      .flatMap((run) =>
        (run.validation.length > 0 ? run.validation : run.train).slice(-1).map((point) => ({ run, point })),
      )
      .sort((a, b) => pixel(a.point) - pixel(b.point));
    let next = -Infinity;
    return ends.map(({ run, point }) => {
      const at = Math.max(pixel(point), next);
      next = at + 15;
      const style = { dx: 10, dy: at - pixel(point), textAnchor: 'start', fill: run.color, fontWeight: 600 } as const;
      return Plot.text([point], { ...style, x: () => to, y, text: () => run.label });
    });
  };

  const equalLoss = (): Markish[] => {
    const shown = new Map(runs.map((run) => [run.folder, run]));
    const found = (comparison?.runs ?? []).flatMap(({ run, atEqualLoss }) => {
      const page = shown.get(run);
      return atEqualLoss === null || page === undefined ? [] : [{ ...atEqualLoss, run: page }];
    });
    if (view.x !== 'flops' || found.length > 4) return [];
    return found.flatMap((at, i) => {
      const words = `${at.speedup >= 0 ? '+' : '−'}${Math.abs(100 * at.speedup).toFixed(1)} % speedup`;
      const ends = [at.runFlops, at.baselineFlops];
      return [
        Plot.ruleY([at], { x1: 'runFlops', x2: 'baselineFlops', y: 'loss', stroke: 'currentColor', strokeWidth: 1.5 }),
        Plot.dot(ends, { x: (flops: number) => flops, y: () => at.loss, fill: 'currentColor', r: 3 }),
        Plot.text([at], {
          x: () => Math.min(at.runFlops, at.baselineFlops),
          y: 'loss',
          text: () =>
            found.length > 1 ? `${at.run.label}: ${words}` : `${words}, ${(100 * at.saved).toFixed(1)} % saved`,
          dx: -10,
          dy: 10 + 15 * i,
          textAnchor: 'end',
          fontWeight: 600,
          stroke: HALO,
          fill: 'currentColor',
        }),
      ];
    });
  };

  const tips = (): Markish[] => {
    const of = (run: PageRun, kind: string, points: readonly CurvePoint[]) =>
      points.map((point) => ({ run, kind, point }));
    // Plot writes every tip's text beforehand: with many runs, training points would make the page wait.
    const MANY = 20;
    const points = runs.flatMap((run) => [
      ...(runs.length <= MANY || run.validation.length === 0 ? of(run, 'train', run.train) : []),
      ...of(run, 'validation', run.validation),
    ]);
    type Tip = (typeof points)[number];
    const title = ({ run, kind, point }: Tip): string =>
      `${run.label}\n${kind} loss ${y(point).toFixed(4)}\n${point[0].toExponential(2)} FLOPs\n${point[1].toExponential(2)} tokens`;
    return [Plot.tip(points, Plot.pointer({ x: (tip: Tip) => x(tip.point), y: (tip: Tip) => y(tip.point), title }))];
  };

  const ticks = lossTicks();
  const xTicks = Math.max(3, Math.round(view.width / 110));
  return Plot.plot({
    ...frame,
    width: view.width,
    height: view.height,
    marginTop: MARGIN.top,
    marginRight: MARGIN.right,
    marginBottom: MARGIN.bottom,
    marginLeft: MARGIN.left,
    x: {
      type: view.logX ? 'log' : 'linear',
      domain: view.logX ? [from, to] : [view.whole ? 0 : from, to],
      label: view.x === 'flops' ? 'FLOPs, the base included' : 'tokens',
      tickFormat: (value: number) => value.toExponential(1).replace('.0e', 'e').replace('e+', 'e'),
      ticks: xTicks,
    },
    y: {
      type: view.logY ? 'log' : 'linear',
      domain: [bottom, top],
      label: 'loss (nats per token)',
      ticks,
      tickFormat: '.2~f',
    },
    marks: [
      Plot.gridY(ticks, { strokeOpacity: 0.12 }),
      Plot.gridX({ strokeOpacity: 0.08, ticks: xTicks }),
      ...runs.flatMap(curves),
      ...runs.flatMap(growths),
      ...equalLoss(),
      ...(view.labels && runs.length <= 12 ? names() : []),
      ...(view.interactive ? tips() : []),
    ],
  });
}
