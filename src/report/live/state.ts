import { statSync } from 'node:fs';
import { findRunFolders, readRun, recordsPath, type Run } from '../../records/index.js';
import type { LiveMessage } from '../client/controller.js';
import { pageRuns, trainRecordsPerRun, type PageComparison, type PageData } from '../data.js';
import { figuresFor } from '../figures.js';
import { figureHtml, pageParts } from '../page.js';

/** Compares the runs of a live page; undefined where there is nothing to compare. */
export type Compare = (runs: readonly Run[]) => PageComparison | undefined;

/** The runs under some folders, read again where their files have changed. */
export class LiveState {
  readonly #runs = new Map<string, { stamp: string; run: Run }>();
  #order: readonly string[] = [];
  #data: PageData = { runs: [], comparison: null, fit: null };

  constructor(
    private readonly roots: readonly string[],
    private readonly compare: Compare,
  ) {}

  get data(): PageData {
    return this.#data;
  }

  /** Whether a folder is one of the runs. */
  has(folder: string): boolean {
    return this.#runs.has(folder);
  }

  /** Looks at the files; returns what changed, or undefined where nothing did. */
  refresh(): LiveMessage | undefined {
    const found = findRunFolders(this.roots).filter((folder) => stampOf(folder) !== undefined);
    const before = this.#order;
    // New runs go behind the known ones, so that these keep their colours.
    const known = before.filter((folder) => found.includes(folder));
    const order = [...known, ...found.filter((folder) => !known.includes(folder))];
    const runsChanged = order.length !== before.length || order.some((folder, i) => folder !== before[i]);
    const changed = new Set(order.filter((folder) => this.#read(folder, order.length)));
    for (const folder of before) if (!order.includes(folder)) this.#runs.delete(folder);
    if (changed.size === 0 && !runsChanged) return undefined;
    this.#order = order.filter((folder) => this.#runs.has(folder));
    const runs = this.#order.flatMap((folder) => this.#runs.get(folder)?.run ?? []);
    this.#data = { runs: pageRuns(runs), comparison: this.compare(runs) ?? null, fit: null };
    return this.#message(runsChanged, (folder) => runsChanged || changed.has(folder));
  }

  /** Everything, for a page that has just connected. */
  full(): LiveMessage {
    return this.#message(true, () => true);
  }

  #message(runsChanged: boolean, wanted: (folder: string) => boolean): LiveMessage {
    const figures = figuresFor(this.#data);
    return {
      runs: this.#data.runs.filter(({ folder }) => wanted(folder)),
      order: this.#data.runs.map(({ folder }) => folder),
      runsChanged,
      comparison: this.#data.comparison,
      figures,
      figuresHtml: figures.map((figure) => figureHtml(figure, '')).join('\n'),
      parts: pageParts(this.#data, true),
    };
  }

  /** Reads a run whose records or manifest have changed; a run that cannot be read is left as it was. */
  #read(folder: string, numRuns: number): boolean {
    const stamp = stampOf(folder);
    const known = this.#runs.get(folder);
    if (stamp === undefined || known?.stamp === stamp) return false;
    try {
      this.#runs.set(folder, { stamp, run: readRun(folder, { maxTrainRecords: trainRecordsPerRun(numRuns) }) });
      return true;
    } catch {
      // A run.json that is being replaced, or a folder that is going away: the next look will tell.
      return false;
    }
  }
}

/** Changes whenever the records or the manifest do; undefined where there are no records yet. */
function stampOf(folder: string): string | undefined {
  const records = statSync(recordsPath(folder), { throwIfNoEntry: false });
  const manifest = statSync(`${folder}/run.json`, { throwIfNoEntry: false });
  return records === undefined ? undefined : `${records.size} ${records.mtimeMs} ${manifest?.mtimeMs ?? 0}`;
}
