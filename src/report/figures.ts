import type { ChartName } from './charts/index.js';
import type { PageData } from './data.js';
import { isLogarithmic, type PageTune } from './tune-data.js';

/** One figure of the page: which chart, and what a reader should see in it. */
export interface FigureSpec {
  readonly id: string;
  readonly title: string;
  readonly caption: string;
  readonly chart: ChartName;
  readonly x: 'flops' | 'tokens';
  readonly logX: boolean;
  readonly logY: boolean;
  readonly height: number;
  /** Which metrics a figure of evaluations shows. */
  readonly metrics?: readonly string[];
  /** Which value of a search is on the x axis. */
  readonly field?: string;
}

const common = { x: 'flops', logX: true, logY: true, height: 420 } as const;

/** The figures of a study's page. */
const studyFigures: FigureSpec[] = [
  {
    ...common,
    id: 'study-ends',
    chart: 'studyEnds',
    title: 'Annealed end points',
    caption: 'Each dot a seed, the line through their means. Bases and everything else that was paid for are counted.',
  },
  {
    ...common,
    id: 'study-speedups',
    chart: 'studySpeedups',
    logY: false,
    title: 'Speedup at equal loss',
    caption:
      'Each dot a seed; the bar is their mean with its 95 % interval. Against scratch of the same architecture, unless it says otherwise.',
  },
];

/** The figures of a search: one for each value that was searched over, if any run has ended. */
function tuneFigures({ space, rungs }: PageTune): FigureSpec[] {
  if (!rungs.some(({ trials }) => trials.some(({ loss }) => Number.isFinite(loss)))) return [];
  const paths = Object.keys(space);
  const several =
    paths.length > 1 ? ' Marks at the same place differ in the other values; a line joins the best of each.' : '';
  return paths.map((path, i) => ({
    ...common,
    id: `tune-loss-${i + 1}`,
    chart: 'tuneLoss',
    field: path,
    logX: isLogarithmic(space[path]!),
    logY: false,
    title: `Validation loss against ${path}`,
    caption: `Each mark a run at the end of its fidelity; a ring and a dashed line: the best. Crosses at the top: runs that failed.${several}`,
  }));
}

const evals = { ...common, chart: 'evals', logY: false, height: 240 } as const;

/** The figures of benchmarks, each of metrics that share a scale. */
const evalFigures: FigureSpec[] = [
  {
    ...evals,
    id: 'evals',
    metrics: ['acc'],
    title: 'Accuracy',
    caption:
      'Bars: one standard error. Dashed: chance. Hollow: within two standard errors of chance, which says nothing about the model.',
  },
  {
    ...evals,
    id: 'evals-nats',
    metrics: ['nats_per_byte'],
    title: 'Nats per byte of the right answer',
    caption: 'Less is better; small models move here long before they leave chance.',
  },
  {
    ...evals,
    id: 'evals-margin',
    metrics: ['margin'],
    title: 'Margin over the best wrong answer',
    caption: 'In nats per byte, means over documents: above 0 the right answer is the more probable one.',
  },
  {
    ...evals,
    id: 'evals-perplexity',
    metrics: ['word_perplexity', 'perplexity'],
    logY: true,
    title: 'Perplexity per word',
    caption: 'Less is better.',
  },
];

/** The figures that there are data for. */
export function figuresFor({ runs, comparison, fit, study, tune }: PageData): FigureSpec[] {
  if (study !== undefined) return studyFigures;
  if (tune !== undefined) return tuneFigures(tune);
  const figures: FigureSpec[] = [
    {
      ...common,
      id: 'loss-flops',
      chart: 'loss',
      title: 'Loss against FLOPs',
      caption: 'Thick: validation loss; thin: training loss. A triangle marks a growth; the base is part of the cost.',
    },
    {
      ...common,
      id: 'loss-tokens',
      chart: 'loss',
      x: 'tokens',
      title: 'Loss against tokens',
      caption: 'The same runs by what they read.',
    },
  ];
  if (comparison?.runs.some(({ curve }) => curve.length > 0) === true)
    figures.push({
      ...common,
      id: 'speedup',
      chart: 'speedup',
      logY: false,
      height: 320,
      title: 'Speedup along the run',
      caption: `FLOPs of the baseline over FLOPs of each run at equal loss, minus 1. The end of the line is the end of the run.`,
    });
  const measured = new Set(runs.flatMap(({ evals }) => evals.map(({ metric }) => metric)));
  figures.push(...evalFigures.filter(({ metrics }) => metrics?.some((metric) => measured.has(metric))));
  const grown = runs.flatMap(({ growth, finalLoss }) =>
    growth[0] === undefined || finalLoss === null ? [] : [growth[0]],
  );
  if (
    new Set(grown.map(({ operator }) => operator)).size > 1 &&
    comparison?.runs.some(({ atEqualLoss }) => atEqualLoss !== null) === true
  )
    figures.push({
      ...common,
      id: 'ranking',
      chart: 'ranking',
      title: 'Operators',
      caption: 'Each dot a run, the bar their mean.',
    });
  const differ = (value: (growth: (typeof grown)[number]) => number): boolean =>
    new Set(grown.map(value).filter(Number.isFinite)).size > 1;
  if (grown.length > 3 && differ(({ tokens }) => tokens) && differ(({ factor }) => factor))
    figures.push({
      ...common,
      id: 'heat-map',
      chart: 'heatMap',
      height: 320,
      title: 'Growth timing and factor',
      caption: 'Final validation loss at one size and budget (of several, the one with the most runs); less is better.',
    });
  if (fit !== null && fit.isoFlop.length > 0)
    figures.push({
      ...common,
      id: 'iso-flop',
      chart: 'isoFlop',
      title: 'Iso-FLOP curves',
      caption:
        'Loss against growth tokens at equal size and budget. Diamonds: minima of the parabolas, with 95 % intervals.',
    });
  if (fit?.sizes.some(({ power }) => power !== null) === true)
    figures.push(
      {
        ...common,
        id: 'scaling',
        chart: 'scaling',
        title: 'Scaling laws',
        caption:
          'Fitted laws with 95 % bands, drawn to ten times the largest budget; dotted: the compute-optimal envelope.',
      },
      {
        ...common,
        id: 'residuals',
        chart: 'residuals',
        height: 240,
        title: 'Residuals of the scaling laws',
        caption: 'A pattern says that the form of the law is wrong.',
      },
    );
  return figures;
}
