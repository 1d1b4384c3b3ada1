import type { PlotOptions } from '@observablehq/plot';
import type { PageData } from '../data.js';
import { evalsChart } from './evals.js';
import { heatMapChart } from './heat-map.js';
import { isoFlopChart } from './iso-flop.js';
import { lossChart } from './loss.js';
import { rankingChart } from './ranking.js';
import { residualsChart } from './residuals.js';
import { scalingChart } from './scaling.js';
import { speedupChart } from './speedup.js';
import { studyEndsChart } from './study-ends.js';
import { studySpeedupsChart } from './study-speedups.js';
import { tuneLossChart } from './tune-loss.js';
import type { Chart, Plot, View } from './view.js';

/** Draws one kind of chart from the page's data. */
export type DrawChart = (plot: Plot, data: PageData, view: View, frame: Partial<PlotOptions>) => Chart;

/** Every chart by name. Each function is self-contained, because the page gets its source text. */
export const charts = {
  loss: lossChart,
  speedup: speedupChart,
  evals: evalsChart,
  ranking: rankingChart,
  heatMap: heatMapChart,
  isoFlop: isoFlopChart,
  scaling: scalingChart,
  residuals: residualsChart,
  studyEnds: studyEndsChart,
  studySpeedups: studySpeedupsChart,
  tuneLoss: tuneLossChart,
} satisfies Record<string, DrawChart>;
export type ChartName = keyof typeof charts;
