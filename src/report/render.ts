import * as Plot from '@observablehq/plot';
import type { PlotOptions } from '@observablehq/plot';
import { Resvg } from '@resvg/resvg-js';
import { parseHTML } from 'linkedom';
import type { Chart, View } from './charts/view.js';

/** A chart with its data. */
export interface Figure<Input> {
  readonly id: string;
  readonly title: string;
  readonly draw: (plot: typeof Plot, input: Input, view: View, frame: Partial<PlotOptions>) => Chart;
  readonly input: Input;
}

const FONT = 'system-ui, "DejaVu Sans", "Liberation Sans", sans-serif';

/** Draws a figure as an SVG element with its namespace, so that it stands alone as a file. */
export function renderSvg<Input>(figure: Figure<Input>, view: View): string {
  const { document } = parseHTML('<html><body></body></html>');
  const chart = figure.draw(Plot, figure.input, view, {
    document,
    style: { fontFamily: FONT, fontSize: '12px', overflow: 'visible' },
  });
  chart.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
  chart.setAttribute('role', 'img');
  chart.setAttribute('aria-label', figure.title);
  return String(chart.outerHTML);
}

/** Turns an SVG into a PNG on white ground, twice the size for sharp screens. */
export function svgToPng(svg: string): Buffer {
  const opaque = svg.replaceAll('var(--ground, white)', 'white').replaceAll('currentColor', 'black');
  const image = new Resvg(opaque, {
    fitTo: { mode: 'zoom', value: 2 },
    background: 'white',
    font: { loadSystemFonts: true, defaultFontFamily: 'DejaVu Sans' },
  });
  return image.render().asPng();
}
