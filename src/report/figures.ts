import type { ChartName } from './charts/index.js';
import type { PageData } from './data.js';

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
}

const common = { x: 'flops', logX: true, logY: true, height: 420 } as const;

/** The figures that there are data for. */
export function figuresFor({ runs, comparison }: PageData): FigureSpec[] {
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
  if (runs.some(({ evals }) => evals.length > 0))
    figures.push({
      ...common,
      id: 'evals',
      chart: 'evals',
      logY: false,
      height: 280,
      title: 'Evaluation',
      caption: 'Bars: one standard error.',
    });
  return figures;
}
