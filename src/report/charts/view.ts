import type * as PlotModule from '@observablehq/plot';

/** The Plot library: imported on the server, inlined in the page. */
export type Plot = typeof PlotModule;

/** What the reader has chosen, and how large the chart is. */
export interface View {
  readonly width: number;
  readonly height: number;
  readonly logX: boolean;
  readonly logY: boolean;
  /** Shows the first hundredth of the runs, too. */
  readonly whole: boolean;
  readonly x: 'flops' | 'tokens';
  /** Which metrics of the evaluations; all where left out. */
  readonly metrics?: readonly string[] | undefined;
  /** Which value of a search is on the x axis. */
  readonly field?: string | undefined;
  /** Draws tips under the pointer; off for files. */
  readonly interactive: boolean;
  /** Writes the runs' names at their ends: for figures that stand alone. */
  readonly labels: boolean;
}

/** What Plot makes, with its scales. */
export type Chart = ReturnType<Plot['plot']>;
