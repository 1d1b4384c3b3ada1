import { join } from 'node:path';
import { canonicalJson, sha256 } from '../../records/index.js';
import { parseConfig, type RunConfigInput, type RunFacts } from '../../train/index.js';
import type { SweepJob } from '../sweep/index.js';

type StageInput = RunConfigInput['stages'][number];
type TrainInput = Extract<StageInput, { kind: 'train' }>;

/** A model trained at a constant rate, from which end points and growths branch off. */
export interface Trunk {
  readonly name: string;
  readonly key: string;
  /** Where it goes on from, with fresh optimizer state unless the growth says otherwise. */
  readonly parent: { readonly trunk: Trunk; readonly step: number } | { readonly folder: string } | undefined;
  readonly grow: Extract<StageInput, { kind: 'grow' }> | undefined;
  readonly run: Omit<RunConfigInput, 'name' | 'stages' | 'from'>;
  readonly train: Pick<TrainInput, 'optimizer' | 'external'>;
  readonly warmup: number;
  /** Steps at which something branches off. */
  readonly points: Set<number>;
  /** What a forecast has to know of a folder that it starts from. */
  readonly parentFacts?: RunFacts['parent'];
}

/** An end of a trunk: a cooldown from one of its points, or a whole run along a cosine. */
export interface Branch {
  readonly trunk: Trunk;
  readonly kind: 'cooldown' | 'cosine';
  /** Steps before the cooldown, on the trunk; 0 for a cosine. */
  readonly from: number;
  /** Steps of the cooldown, or of the cosine. */
  readonly steps: number;
}

/** The trunks and branches of a study; what is the same is there once. */
export class Forest {
  readonly #trunks = new Map<string, Trunk>();
  readonly #branches = new Map<string, { branch: Branch; name: string }>();

  trunk(trunk: Omit<Trunk, 'key' | 'points'>): Trunk {
    const { name: _, parent, parentFacts: __, ...rest } = trunk;
    const from = parent === undefined || 'folder' in parent ? parent : [parent.trunk.key, parent.step];
    const key = sha256(canonicalJson(JSON.parse(JSON.stringify({ ...rest, from }))));
    const known = this.#trunks.get(key);
    if (known !== undefined) return known;
    if (parent !== undefined && 'trunk' in parent) parent.trunk.points.add(parent.step);
    const made = { ...trunk, key, points: new Set<number>() };
    this.#trunks.set(key, made);
    return made;
  }

  /** Names the job at whose end a branch is measured. */
  branch(branch: Branch): string {
    const { trunk, kind, from, steps } = branch;
    if (kind === 'cooldown') trunk.points.add(from);
    const name = `${trunk.name}.${kind === 'cooldown' ? 'end' : 'cosine'}-${from + steps}`;
    const key = [trunk.key, kind, from, steps].join();
    const known = this.#branches.get(key);
    if (known === undefined) this.#branches.set(key, { branch, name });
    return known?.name ?? name;
  }

  /** Every run, parents first: each trunk in segments between its points, each end point right behind its segment. */
  jobs(out: string, study: string): SweepJob[] {
    const jobs: SweepJob[] = [];
    const segments = new Map<string, string>();
    const add = (trunk: Trunk, name: string, stages: StageInput[], from: string | undefined, copy: boolean): void => {
      const start = from === undefined ? folderOf(trunk) : join(out, 'runs', from);
      const config = {
        ...trunk.run,
        ...{ name, study },
        ...(start === undefined ? {} : { from: start }),
        ...(copy ? { optimizerState: 'copy' as const } : {}),
        stages,
      };
      jobs.push({
        ...{ name, kind: 'cell', config, base: from, coordinates: {} },
        folder: join(out, 'runs', name),
        loaded: parseConfig(config, [], `run "${name}"`),
        hash: sha256(canonicalJson(JSON.parse(JSON.stringify(config)))),
        ...(from === undefined && trunk.parentFacts !== undefined ? { parent: trunk.parentFacts } : {}),
      });
    };
    const begin = (trunk: Trunk): string | undefined =>
      trunk.parent !== undefined && 'trunk' in trunk.parent
        ? segments.get(`${trunk.parent.trunk.key},${trunk.parent.step}`)
        : undefined;
    const growth = ({ grow }: Trunk): StageInput[] => (grow === undefined ? [] : [grow]);
    const end = ({ branch: { trunk, kind, from, steps }, name }: { branch: Branch; name: string }): void => {
      const schedule =
        kind === 'cooldown'
          ? { kind: 'wsd' as const, warmup: 0, cooldown: steps }
          : { kind: 'cosine' as const, warmup: trunk.warmup };
      const stage: TrainInput = { ...{ name: kind, kind: 'train', schedule, ...trunk.train }, until: { steps } };
      if (kind === 'cooldown') add(trunk, name, [stage], segments.get(`${trunk.key},${from}`), true);
      else add(trunk, name, [...growth(trunk), stage], begin(trunk), false);
    };
    const ends = [...this.#branches.values()];
    for (const trunk of this.#trunks.values()) {
      let [done, last] = [0, begin(trunk)];
      for (const point of [...trunk.points].sort((a, b) => a - b)) {
        const isFirst = done === 0;
        const schedule = { kind: 'constant' as const, warmup: isFirst ? trunk.warmup : 0 };
        const stage: TrainInput = {
          ...{ name: 'trunk', kind: 'train', schedule, ...trunk.train },
          until: { steps: point - done },
        };
        const name = `${trunk.name}.${point}`;
        add(trunk, name, [...(isFirst ? growth(trunk) : []), stage], last, !isFirst);
        segments.set(`${trunk.key},${point}`, name);
        [done, last] = [point, name];
        for (const one of ends)
          if (one.branch.kind === 'cooldown' && one.branch.trunk === trunk && one.branch.from === point) end(one);
      }
      for (const one of ends) if (one.branch.kind === 'cosine' && one.branch.trunk === trunk) end(one);
    }
    return jobs;
  }
}

const folderOf = ({ parent }: Trunk): string | undefined =>
  parent !== undefined && 'folder' in parent ? parent.folder : undefined;
