import { extname } from 'node:path';
import { InputError } from '../errors.js';
import { writeFileAtomic } from '../files/atomic.js';
import { attentionChart, type AttentionFigureInput } from './charts/attention.js';
import { escapeHtml } from './html.js';
import { type Figure, renderSvg, svgToPng } from './render.js';
import { style } from './style.js';

const FORMATS = ['.svg', '.png', '.html'] as const;

/** Throws InputError unless a figure can be written to a file of this name. */
export function requireFigureFile(path: string): void {
  if (!(FORMATS as readonly string[]).includes(extname(path)))
    throw new InputError(`${path}: expected a file that ends in ${FORMATS.join(', ')}.`);
}

/**
 * Draws the approximate rank and column mass of every attention head.
 *
 * @param path File to write; its ending says whether SVG, PNG or a page.
 * @param model What was measured, for the title.
 */
export function writeAttentionFigure(path: string, input: AttentionFigureInput, model: string): void {
  const heads = input.layers[0]?.heads.length ?? 0;
  const figure = { id: 'attention', title: `Attention of ${model}`, draw: attentionChart, input };
  write(path, figure, {
    width: 120 + 2 * Math.max(140, 38 * heads),
    height: 100 + 26 * input.layers.length,
    caption: `Rank: singular values with 90 % of the squares of a head's attention matrix; both of at most ${input.length}. Near 1: a lazy head.`,
  });
}

function write<Input>(
  path: string,
  figure: Figure<Input>,
  { width, height, caption }: { width: number; height: number; caption: string },
): void {
  requireFigureFile(path);
  const svg = renderSvg(figure, {
    width,
    height,
    x: 'flops',
    logX: false,
    logY: false,
    whole: true,
    interactive: false,
    labels: true,
  });
  const format = extname(path);
  if (format === '.svg') writeFileAtomic(path, svg);
  else if (format === '.png') writeFileAtomic(path, svgToPng(svg));
  else writeFileAtomic(path, page(figure.title, caption, svg));
}

const page = (title: string, caption: string, svg: string): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${style}</style>
</head>
<body>
<main>
<h1>${escapeHtml(title)}</h1>
<figure><figcaption>${escapeHtml(caption)}</figcaption><div class="plot">${svg}</div></figure>
</main>
</body>
</html>
`;
