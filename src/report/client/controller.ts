import type { DrawChart } from '../charts/index.js';
import type { Plot, View } from '../charts/view.js';
import type { CurvePoint, PageData, PageRun } from '../data.js';
import type { FigureSpec } from '../figures.js';
import type { PageElement, PageWindow } from './dom.js';

/** What the page's script starts from. */
export interface PageStart {
  readonly data: PageData;
  readonly figures: readonly FigureSpec[];
  /** Address of a stream of newer data; left out in files. */
  readonly live?: string;
}

/**
 * Brings a page to life: draws its figures again with the reader's choices, with tips under the pointer or the arrow keys.
 *
 * Self-contained: the page gets its source text and calls it with its own window, Plot and charts.
 */
export function startPage(
  window: PageWindow,
  Plot: Plot,
  charts: Readonly<Record<string, DrawChart>>,
  start: PageStart,
): void {
  const { document } = window;
  const hidden = new Set<string>();
  let { data, figures } = start;
  const control = (id: string): PageElement | null => document.querySelector(`#${id}`);
  const drawn = new Map<string, { scale(name: 'x' | 'y'): { apply(value: number): number } | undefined }>();
  const cursor = new Map<string, number>();

  /** Exponential moving average, corrected for its start. */
  const smooth = (points: readonly CurvePoint[], weight: number): readonly CurvePoint[] => {
    if (weight === 0) return points;
    let sum = 0;
    let mass = 0;
    return points.map(([flops, tokens, loss]) => {
      sum = weight * sum + (1 - weight) * loss;
      mass = weight * mass + (1 - weight);
      return [flops, tokens, sum / mass];
    });
  };

  const shownData = (): PageData => {
    const weight = Number(control('smoothing')?.value ?? 0);
    const runs = data.runs
      .filter(({ folder }) => !hidden.has(folder))
      .map((run) => ({ ...run, train: smooth(run.train, weight) }));
    return { ...data, runs };
  };

  const draw = (): void => {
    const shown = shownData();
    for (const figure of figures) {
      const place = document.querySelector(`[data-figure="${figure.id}"] .plot`);
      const chart = charts[figure.chart];
      if (place === null || chart === undefined) continue;
      const view: View = {
        width: Math.max(280, place.clientWidth),
        height: figure.height,
        x: figure.x,
        logX: figure.logX && control('log-x')?.checked !== false,
        logY: figure.logY && control('log-y')?.checked !== false,
        whole: control('whole')?.checked === true,
        interactive: true,
        labels: false,
      };
      const svg = chart(Plot, shown, view, {
        style: { fontSize: '12px', overflow: 'visible', background: 'transparent' },
      });
      drawn.set(figure.id, svg as unknown as { scale(name: 'x' | 'y'): { apply(value: number): number } | undefined });
      place.replaceChildren(svg);
    }
  };
  let waiting = false;
  const redraw = (): void => {
    if (waiting) return;
    waiting = true;
    window.requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  };

  /** Moves the tip along the validation points (or training points) of all shown runs. */
  const step = (figure: FigureSpec, by: number): void => {
    const axis = figure.x === 'flops' ? 0 : 1;
    const points = shownData().runs.flatMap((run: PageRun) => (run.validation.length > 0 ? run.validation : run.train));
    const chart = drawn.get(figure.id);
    const svg = document.querySelector(
      `[data-figure="${figure.id}"] .plot > svg, [data-figure="${figure.id}"] .plot > figure > svg`,
    );
    if (points.length === 0 || chart === undefined || svg === null) return;
    const index = ((cursor.get(figure.id) ?? -1) + by + points.length) % points.length;
    cursor.set(figure.id, index);
    const point = points[index];
    const x = chart.scale('x');
    const y = chart.scale('y');
    if (point === undefined || x === undefined || y === undefined) return;
    const { left, top } = svg.getBoundingClientRect();
    const options = {
      clientX: left + x.apply(point[axis]),
      clientY: top + y.apply(point[2]),
      bubbles: true,
      pointerType: 'mouse',
    };
    svg.dispatchEvent(new window.PointerEvent('pointermove', options));
  };

  const listen = (): void => {
    for (const id of ['smoothing', 'log-x', 'log-y', 'whole']) control(id)?.addEventListener('input', redraw);
    for (const figure of figures) {
      const element = document.querySelector(`[data-figure="${figure.id}"]`);
      element?.addEventListener('keydown', (event) => {
        if (figure.chart !== 'loss' || (event.key !== 'ArrowRight' && event.key !== 'ArrowLeft')) return;
        event.preventDefault();
        step(figure, event.key === 'ArrowRight' ? 1 : -1);
      });
    }
    control('show-all')?.addEventListener('click', () => toggleAll(true));
    control('show-none')?.addEventListener('click', () => toggleAll(false));
    control('search')?.addEventListener('input', () => {
      const wanted = (control('search')?.value ?? '').toLowerCase();
      for (const entry of document.querySelectorAll('.legend label'))
        entry.hidden = !(entry.textContent ?? '').toLowerCase().includes(wanted);
    });
    for (const box of document.querySelectorAll('.legend input')) listenTo(box);
    new window.ResizeObserver(redraw).observe(document.querySelector('main') ?? document);
  };
  const listenTo = (box: PageElement): void => {
    box.addEventListener('input', () => {
      const folder = box.dataset['run'] ?? '';
      if (box.checked) hidden.delete(folder);
      else hidden.add(folder);
      redraw();
    });
  };
  const toggleAll = (on: boolean): void => {
    for (const entry of document.querySelectorAll('.legend label')) {
      const box = entry.querySelector('input');
      if (box === null || entry.hidden) continue;
      box.checked = on;
      const folder = box.dataset['run'] ?? '';
      if (on) hidden.delete(folder);
      else hidden.add(folder);
    }
    redraw();
  };

  /** Follows a stream: each message holds the data anew, and the parts of the page that are text. */
  const follow = (url: string): void => {
    const source = new window.EventSource(url);
    const status = control('status');
    const say = (text: string): void => {
      if (status !== null) status.textContent = text;
    };
    source.onerror = () => say('connection lost, trying again');
    source.onopen = () => say('live');
    source.addEventListener('data', (event) => {
      const message = JSON.parse(event.data) as {
        data: PageData;
        figures: FigureSpec[];
        parts: Record<string, string>;
      };
      data = message.data;
      figures = message.figures;
      for (const [id, html] of Object.entries(message.parts)) {
        const part = control(id);
        if (part === null) continue;
        const template = document.createElement('template') as PageElement & { innerHTML: string; content: unknown };
        template.innerHTML = html;
        part.replaceChildren(template.content);
      }
      for (const box of document.querySelectorAll('.legend input')) {
        box.checked = !hidden.has(box.dataset['run'] ?? '');
        listenTo(box);
      }
      redraw();
    });
  };

  control('controls')?.setAttribute('data-ready', 'true');
  listen();
  draw();
  if (start.live !== undefined) follow(start.live);
}
