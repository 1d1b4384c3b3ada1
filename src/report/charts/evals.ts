import type { Markish, PlotOptions } from '@observablehq/plot';
import type { PageData } from '../data.js';
import type { Chart, Plot, View } from './view.js';

/**
 * Evaluation results along the runs, one small chart per task, with one standard error.
 *
 * Chance is a dashed line; accuracies within two standard errors of it are hollow. Self-contained: the page gets its source text.
 */
export function evalsChart(Plot: Plot, { runs }: PageData, view: View, frame: Partial<PlotOptions>): Chart {
  const wanted = runs.flatMap((run) =>
    run.evals
      .filter(({ metric, value }) => (view.metrics?.includes(metric) ?? true) && Number.isFinite(value))
      .map((record) => ({ run, ...record })),
  );
  const several = new Set(wanted.map(({ metric }) => metric)).size > 1;
  const named = wanted.map((record) => ({
    ...record,
    name: several ? `${record.task} ${record.metric}` : record.task,
  }));
  const names = [...new Set(named.map(({ name }) => name))];
  const columns = Math.max(1, Math.min(names.length, Math.floor(view.width / 170)));
  const rows = Math.max(1, Math.ceil(names.length / columns));
  const facetOf = (name: string): { column: number; row: number } => {
    const index = names.indexOf(name);
    return { column: index % columns, row: Math.floor(index / columns) };
  };
  const points = named.map((record) => ({ ...record, ...facetOf(record.name) }));
  type Point = (typeof points)[number];
  const facet = { fx: 'column', fy: 'row' } as const;
  const at = { ...facet, x: view.x, y: 'value' } as const;
  const chances = names.flatMap((name) => points.find((d) => d.name === name && Number.isFinite(d.chance)) ?? []);
  const color = (d: Point): string => d.run.color;
  const marks: Markish[] = [
    Plot.frame({ strokeOpacity: 0.15 }),
    Plot.gridY({ strokeOpacity: 0.12 }),
    Plot.text(
      names.map((name) => ({ name, ...facetOf(name) })),
      { ...facet, text: 'name', frameAnchor: 'top', dy: -12, fontWeight: 600 },
    ),
    Plot.ruleY(chances, { ...facet, y: 'chance', strokeDasharray: '4,3', strokeOpacity: 0.6 }),
    Plot.ruleX(
      points.filter(({ stderr }) => Number.isFinite(stderr)),
      {
        ...facet,
        x: view.x,
        y1: (d: Point) => d.value - d.stderr,
        y2: (d: Point) => d.value + d.stderr,
        stroke: color,
        strokeOpacity: 0.4,
      },
    ),
    Plot.line(points, { ...at, stroke: color, z: (d: Point) => `${d.run.id} ${d.name}`, strokeWidth: 1.5 }),
    Plot.dot(points, {
      ...at,
      fill: (d: Point) => (d.nearChance ? 'var(--ground, white)' : d.run.color),
      stroke: color,
      r: 2.5,
    }),
  ];
  if (view.interactive)
    marks.push(
      Plot.tip(
        points,
        Plot.pointer({
          ...at,
          title: (d: Point) =>
            `${d.run.label}\n${d.task} ${d.metric}\n${d.value.toFixed(4)}${Number.isFinite(d.stderr) ? ` ± ${d.stderr.toFixed(4)}` : ''}${d.nearChance ? '\nwithin two standard errors of chance' : ''}`,
        }),
      ),
    );
  return Plot.plot({
    ...frame,
    width: view.width,
    height: Math.max(view.height, 60 + 150 * rows),
    marginLeft: 52,
    marginTop: 30,
    marginBottom: 42,
    color: { type: 'identity' },
    fx: { axis: null },
    fy: { axis: null, padding: 0.25 },
    x: {
      type: view.logX ? 'log' : 'linear',
      label: view.x === 'flops' ? 'FLOPs' : 'tokens',
      ticks: 3,
      tickFormat: (value: number) => value.toExponential(0).replace('e+', 'e'),
    },
    y: { type: view.logY ? 'log' : 'linear', label: null, nice: true, ticks: 4 },
    marks,
  });
}
