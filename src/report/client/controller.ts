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

/** What the stream of a live page sends. */
export interface LiveMessage {
  /** Runs that are new or have grown. */
  readonly runs: readonly PageRun[];
  /** All runs, by folder. */
  readonly order: readonly string[];
  /** Whether `order` is another than in the message before. */
  readonly runsChanged: boolean;
  readonly comparison: PageData['comparison'];
  readonly figures: readonly FigureSpec[];
  /** Empty places for the figures. */
  readonly figuresHtml: string;
  readonly parts: Readonly<Record<string, string>>;
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
  let data = start.data;
  let figures: readonly FigureSpec[] = start.figures;
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
        metrics: figure.metrics,
        field: figure.field,
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
    for (const id of ['diff-a', 'diff-b']) control(id)?.addEventListener('input', showDiff);
    control('show-all')?.addEventListener('click', () => toggleAll(true));
    control('show-none')?.addEventListener('click', () => toggleAll(false));
    control('search')?.addEventListener('input', search);
    new window.ResizeObserver(redraw).observe(document.querySelector('main') ?? document);
  };
  const search = (): void => {
    const wanted = (control('search')?.value ?? '').toLowerCase();
    for (const entry of document.querySelectorAll('.legend label'))
      entry.hidden = !(entry.textContent ?? '').toLowerCase().includes(wanted);
  };
  const listenToFigures = (): void => {
    for (const figure of figures) {
      const element = document.querySelector(`[data-figure="${figure.id}"]`);
      element?.addEventListener('keydown', (event) => {
        if (figure.chart !== 'loss' || (event.key !== 'ArrowRight' && event.key !== 'ArrowLeft')) return;
        event.preventDefault();
        step(figure, event.key === 'ArrowRight' ? 1 : -1);
      });
    }
  };
  const listenToRuns = (): void => {
    for (const box of document.querySelectorAll('.legend input')) {
      box.checked = !hidden.has(box.dataset['run'] ?? '');
      box.addEventListener('input', () => {
        const folder = box.dataset['run'] ?? '';
        if (box.checked) hidden.delete(folder);
        else hidden.add(folder);
        redraw();
      });
    }
    for (const area of document.querySelectorAll('[data-notes]'))
      area.addEventListener('change', () => {
        const body = JSON.stringify({ run: area.dataset['notes'], notes: area.value });
        void window.fetch('notes', { method: 'POST', headers: { 'content-type': 'application/json' }, body });
      });
    search();
    fillDiff();
  };

  /** Offers all runs for a comparison of their configs; the first two to begin with. */
  const fillDiff = (): void => {
    const section = control('diff');
    if (section === null || data.runs.length < 2) return;
    section.hidden = false;
    ['diff-a', 'diff-b'].forEach((id, i) => {
      const select = control(id);
      if (select === null) return;
      const before = select.value;
      select.replaceChildren(
        ...data.runs.map((run) => {
          const option = document.createElement('option');
          option.value = run.folder;
          option.textContent = run.label;
          return option;
        }),
      );
      select.value = data.runs.some(({ folder }) => folder === before) ? before : (data.runs[i]?.folder ?? '');
    });
    showDiff();
  };
  const showDiff = (): void => {
    const of = (id: string): PageRun | undefined => data.runs.find(({ folder }) => folder === control(id)?.value);
    const [a, b] = [of('diff-a'), of('diff-b')];
    const names = [...new Set([...Object.keys(a?.configValues ?? {}), ...Object.keys(b?.configValues ?? {})])];
    const rows = names
      .map((name) => [name, a?.configValues[name] ?? '–', b?.configValues[name] ?? '–'])
      .filter(([, left, right]) => left !== right);
    const cells = (values: readonly string[], kind: string): PageElement => {
      const row = document.createElement('tr');
      for (const value of values) {
        const cell = document.createElement(kind);
        cell.textContent = value;
        row.append(cell);
      }
      return row;
    };
    const head = cells(['Field', a?.label ?? '', b?.label ?? ''], 'th');
    control('diff-table')?.replaceChildren(
      head,
      ...(rows.length === 0 ? [['equal', '', '']] : rows).map((row) => cells(row, 'td')),
    );
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

  const putHtml = (id: string, html: string): void => {
    const part = control(id);
    if (part !== null && part.innerHTML !== html) part.innerHTML = html;
  };

  /** Follows a stream: each message holds what changed, and the parts of the page that are text. */
  const follow = (url: string): void => {
    const source = new window.EventSource(url);
    const say = (text: string): void => {
      const status = control('status');
      if (status !== null) status.textContent = text;
    };
    source.onerror = () => say('connection lost, trying again');
    source.onopen = () => say('live');
    source.addEventListener('data', (event) => {
      const message = JSON.parse(event.data) as LiveMessage;
      const known = new Map([...data.runs, ...message.runs].map((run) => [run.folder, run]));
      const runs = message.order.flatMap((folder) => known.get(folder) ?? []);
      data = { ...data, runs, comparison: message.comparison };
      const ids = (list: readonly FigureSpec[]): string => list.map(({ id }) => id).join();
      const figuresChanged = ids(figures) !== ids(message.figures);
      figures = message.figures;
      if (figuresChanged) {
        putHtml('figures', message.figuresHtml);
        listenToFigures();
      }
      for (const [id, html] of Object.entries(message.parts)) {
        // Open details and half-written notes stay as they are while the runs are the same.
        if ((id === 'details' || id === 'legend') && !message.runsChanged) continue;
        putHtml(id, html);
      }
      if (message.runsChanged) listenToRuns();
      redraw();
    });
  };

  control('controls')?.setAttribute('data-ready', 'true');
  listen();
  listenToFigures();
  listenToRuns();
  draw();
  if (start.live !== undefined) follow(start.live);
}
