import type { PlotOptions } from '@observablehq/plot';
import type { PageData } from '../data.js';
import { evalsChart } from './evals.js';
import { lossChart } from './loss.js';
import { speedupChart } from './speedup.js';
import type { Chart, Plot, View } from './view.js';

/** Draws one kind of chart from the page's data. */
export type DrawChart = (plot: Plot, data: PageData, view: View, frame: Partial<PlotOptions>) => Chart;

/** Every chart by name. Each function is self-contained, because the page gets its source text. */
export const charts = { loss: lossChart, speedup: speedupChart, evals: evalsChart } satisfies Record<string, DrawChart>;
export type ChartName = keyof typeof charts;
