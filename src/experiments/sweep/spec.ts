import { z } from 'zod';
import { join } from 'node:path';
import { parseBySchema } from '../../architecture/index.js';
import { InputError } from '../../errors.js';
import { canonicalJson, sha256 } from '../../records/index.js';
import { type LoadedConfig, parseConfig, type RunConfigInput, type RunFacts } from '../../train/index.js';

/** One run of a sweep. */
export interface SweepCell {
  readonly name: string;
  /** The base model that the run starts from, by its name among the sweep's bases. */
  readonly base?: string;
  readonly run: RunConfigInput;
  /** Where the cell stands in the grid: size, growth tokens, factor, seed, operator ... */
  readonly coordinates?: Readonly<Record<string, string | number>>;
}

/** A grid of runs, as a recipe returns it. */
export interface Sweep {
  readonly name: string;
  /** Models that several cells start from: each is trained once. */
  readonly bases?: Readonly<Record<string, RunConfigInput>>;
  readonly cells: readonly SweepCell[];
}

/** Every combination of some values: `grid({layers: [2, 4], seed: [1, 2]})` has four. */
export function grid<const A extends Readonly<Record<string, readonly unknown[]>>>(
  axes: A,
): { readonly [K in keyof A]: A[K][number] }[] {
  const all = Object.entries(axes).reduce<Record<string, unknown>[]>(
    (done, [name, values]) => done.flatMap((point) => values.map((value) => ({ ...point, [name]: value }))),
    [{}],
  );
  return all as { readonly [K in keyof A]: A[K][number] }[];
}

/** A run of a sweep with its folder: a base, or a cell. */
export interface SweepJob {
  readonly name: string;
  readonly kind: 'base' | 'cell';
  readonly folder: string;
  readonly config: RunConfigInput;
  readonly loaded: LoadedConfig;
  /** SHA-256 of the config. */
  readonly hash: string;
  /** The run that has to end before this one, which starts from it. */
  readonly base: string | undefined;
  readonly coordinates: Readonly<Record<string, string | number>>;
  /** What a forecast has to know of a checkpoint that no run of the sweep makes. */
  readonly parent?: RunFacts['parent'];
}

const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/, 'expected a name of letters, digits, "-", "_" and "."');
const fields = z.record(z.string(), z.unknown());
const schema = z.strictObject({
  name,
  bases: z.record(name, fields).default({}),
  cells: z
    .array(
      z.strictObject({
        name,
        base: z.string().optional(),
        run: fields,
        coordinates: z.record(z.string(), z.union([z.string(), z.number()])).default({}),
      }),
    )
    .min(1),
});

/**
 * Checks a sweep and gives its runs their folders; bases come first.
 *
 * @param value What a recipe returned.
 * @param source The recipe, for messages.
 * @param out Folder of the sweep: each run lies under its name.
 * @throws InputError naming the cell and the field.
 */
export function planJobs(value: unknown, source: string, out: string): { name: string; jobs: readonly SweepJob[] } {
  const sweep = parseBySchema(schema, value, source);
  const used = new Set<string>();
  const job = (kind: SweepJob['kind'], cell: { name: string; base?: string | undefined; run: object }): SweepJob => {
    if (used.has(cell.name)) throw new InputError(`${source}: two runs are called "${cell.name}".`);
    used.add(cell.name);
    if (cell.base !== undefined && sweep.bases[cell.base] === undefined)
      throw new InputError(
        `${source}: cell "${cell.name}" starts from "${cell.base}", but the bases are ${Object.keys(sweep.bases).join(', ') || 'none'}.`,
      );
    const from = cell.base === undefined ? {} : { from: join(out, cell.base) };
    const config = { ...cell.run, ...from, name: cell.name } as RunConfigInput;
    const loaded = parseConfig(config, [], `${source}: ${kind} "${cell.name}"`);
    return {
      name: cell.name,
      kind,
      folder: join(out, cell.name),
      config,
      loaded,
      hash: sha256(canonicalJson(JSON.parse(JSON.stringify(config)))),
      base: cell.base,
      coordinates: {},
    };
  };
  const bases = Object.entries(sweep.bases).map(([base, run]) => job('base', { name: base, run }));
  const cells = sweep.cells.map((cell) => ({ ...job('cell', cell), coordinates: cell.coordinates }));
  return { name: sweep.name, jobs: [...bases, ...cells] };
}
