import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { dryRun, loadConfig, parseConfig, type RunInput } from '../src/index.js';
import { planRun, type Stage } from '../src/train/index.js';
import { apart, family, familyTokens } from './family.js';
import { compareOperators, OPERATORS_BUDGET } from './compare-operators.js';
import { forecastSweep, planJobs } from '../src/experiments/sweep/index.js';
import { gradualStack, midas, proportionalSteps } from './gradual-stack.js';
import { inheritune } from './inheritune.js';
import { insertedLayers, learnedOperators } from './learned-operators.js';
import { jobsOf, planTune } from '../src/experiments/tune/index.js';
import { planGrowth } from '../src/growth/index.js';
import { mslt } from './mslt.js';
import { exampleRun, stackbert } from './stackbert.js';
import tuneRewarm from './tune-rewarm.js';

const stagesOf = (run: RunInput): readonly Stage[] => planRun(parseConfig(run), { vocabSize: 2048 }).stages;
const layersOf = (run: RunInput): number[] =>
  stagesOf(run)
    .filter(({ kind }) => kind === 'train')
    .map(({ model }) => model.num_hidden_layers);
const stepsOf = (run: RunInput): (number | undefined)[] =>
  stagesOf(run).flatMap((stage) => (stage.kind === 'train' ? [stage.steps] : []));

describe('recipes', () => {
  it.each(['stackbert', 'gradual-stack', 'mslt', 'compound-grow', 'family'])('%s: a dry run', async (name) => {
    const path = fileURLToPath(new URL(`./${name}.ts`, import.meta.url));
    const run = dryRun(await loadConfig(path));
    expect(run.totals!.steps).toBeGreaterThan(100);
    expect(run.stages.filter(({ kind }) => kind === 'grow').length).toBeGreaterThan(0);
    expect(run.warnings.filter((warning) => !warning.includes('was not used'))).toEqual([]);
  });

  it('tune-rewarm: a dry run; cheap trials train the layers that growth added, the last is the run itself', () => {
    const plan = planTune(tuneRewarm(), 'tune-rewarm');
    expect(plan.fidelities.map(({ keep }) => keep)).toEqual([3, 1, 1]);
    const flops = plan.fidelities.map((_fidelity, i) => {
      const { runs } = forecastSweep(jobsOf(plan, 'tune-rewarm', 'out', i, [0]));
      return runs.find(({ kind }) => kind === 'cell')!.flops!;
    });
    // Block expansion of 6 layers to 12 puts a new one behind each: backward ends only below the lowest new one.
    expect(flops[0]! / flops[1]!).toBeGreaterThan(0.7);
    expect(flops[0]!).toBeLessThan(flops[1]!);
    expect(flops[2]! / flops[1]!).toBeCloseTo(Math.ceil(4e6 / 8192) / Math.ceil(5e5 / 8192), 1);
  });

  it('stackbert: 3, 6, 12 layers for an eighth, a twentieth and the rest; rates that meet', () => {
    const run = stackbert({ ...exampleRun, steps: 4000 });
    expect(layersOf(run)).toEqual([3, 6, 12]);
    expect(stepsOf(run)).toEqual([500, 200, 3300]);
    const rates = run.stages.flatMap((stage) =>
      stage.kind === 'train'
        ? [[stage.optimizer.lr, stage.optimizer.lr * (stage.schedule as { floor: number }).floor]]
        : [],
    );
    const expected = [8e-4, 5.5e-4, 5.5e-4, 3e-4, 3e-4, 0];
    rates.flat().forEach((rate, i) => expect(rate).toBeCloseTo(expected[i]!, 12));
  });

  it('gradual-stack and midas: Prop-alpha over blocks of layers, one schedule', () => {
    expect(proportionalSteps(100, 4, 1)).toEqual([10, 20, 30, 40]);
    expect(proportionalSteps(100, 4, 2)).toEqual([3, 14, 30, 53]);
    const run = gradualStack({ ...exampleRun, steps: 1000, stages: 4, alpha: 1, block: 'top' });
    expect(layersOf(run)).toEqual([3, 6, 9, 12]);
    expect(stepsOf(run)).toEqual([100, 200, 300, 400]);
    const stages = stagesOf(midas({ ...exampleRun, stages: 4, alpha: 2 }));
    const sources = stages.flatMap((stage) =>
      stage.kind === 'grow' ? [stage.growth.plan.layers!.map((layer) => ('from' in layer ? layer.from : -1))] : [],
    );
    // Blocks of three: the only one, the first of two, the second of three.
    expect(sources[0]).toEqual([0, 1, 2, 0, 1, 2]);
    expect(sources[1]).toEqual([0, 1, 2, 0, 1, 2, 3, 4, 5]);
    expect(sources[2]).toEqual([0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 8]);
    const offsets = stages.flatMap((stage) => (stage.kind === 'train' ? [stage.scheduleOffset] : []));
    expect(offsets).toEqual([0, 67, 333, 933]);
  });

  it('mslt: only what is new is trained, then all', () => {
    const run = mslt({ ...exampleRun, steps: 1000, added: 3 });
    expect(layersOf(run)).toEqual([3, 6, 9, 12, 12]);
    expect(stepsOf(run)).toEqual([150, 150, 150, 150, 400]);
    const trained = stagesOf(run).flatMap((stage) =>
      stage.kind === 'train'
        ? [
            new Set(stage.specs.filter(stage.isTrained).flatMap(({ layer }) => (layer === undefined ? [] : [layer])))
              .size,
          ]
        : [],
    );
    expect(trained).toEqual([3, 3, 3, 3, 12]);
  });

  it('family: 20, 30, 60 and 120 billion tokens for 1, 2, 4 and 8 billion parameters: 24.7 % saved', () => {
    const tokens = familyTokens([1e9, 2e9, 4e9, 8e9]);
    expect(tokens).toEqual([20e9, 30e9, 60e9, 120e9]);
    const cost = (sizes: number[], counts: number[]): number =>
      sizes.reduce((sum, size, i) => sum + size * counts[i]!, 0);
    const sizes = [1, 2, 4, 8];
    const alone = cost(
      sizes,
      sizes.map((size) => 20 * size),
    );
    expect(1 - cost(sizes, [20, 30, 60, 120]) / alone).toBeCloseTo(21 / 85, 12);
    const run = family({
      data: 'd',
      model: { vocab_size: 2048, head_dim: 16 },
      members: [
        { name: 'a', num_hidden_layers: 2, hidden_size: 32, num_attention_heads: 2, intermediate_size: 64 },
        { name: 'b', num_hidden_layers: 4, hidden_size: 64, num_attention_heads: 4, intermediate_size: 128 },
      ],
      batchTokens: 1024,
    });
    expect(stagesOf(run)[1]).toMatchObject({ growth: { plan: { operator: 'stack+aki' } } });
    expect(run.stages.every((stage) => stage.kind !== 'train' || stage.release === true)).toBe(true);
  });

  it('family: the dry run names the saving by the rule, and each member has its peak rate', () => {
    // Parameters without embeddings in the ratio 1 : 2 : 4 : 8: only the layers differ, and the final norm is small beside them.
    const members = [1, 2, 4, 8].map((layers) => ({
      ...{ name: `m${layers}`, num_hidden_layers: layers, hidden_size: 256 },
      ...{ num_attention_heads: 4, intermediate_size: 1024 },
    }));
    const setup = { data: 'd', model: { vocab_size: 2048 }, members, batchTokens: 1024, lr: 8e-3 };
    const plan = planRun(parseConfig(family(setup)));
    expect(plan.derived['released.saving6nd']!.value).toBeCloseTo(21 / 85, 3);
    expect(plan.derived['released.saving6nd']!.from).toMatch(/4 released models in one chain take .* alone/);
    const rates = plan.stages.flatMap((stage) => (stage.kind === 'train' ? [stage.config.optimizer.lr] : []));
    expect(rates.map((lr) => lr / 8e-3)).toEqual([1, 0.7075, 0.5, 0.35375].map((r) => expect.closeTo(r, 3) as number));
    const table = family({ ...setup, peakLr: { m1: 1e-2, m2: 9e-3, m4: 8e-3, m8: 7e-3 } });
    expect(planRun(parseConfig(table)).stages.at(-1)).toMatchObject({ config: { optimizer: { lr: 7e-3 } } });
    expect(() => family({ ...setup, peakLr: { m1: 1e-2 } })).toThrow('peakLr names no rate for the member "m2".');
    // Apart, each has 20 tokens a parameter, and the FLOPs that the chain had spent by then.
    const alone = apart(setup).map((run) => planRun(parseConfig(run)).totals!.ledger.totals().flopsNonEmbedding);
    const separate = alone.reduce((sum, flops) => sum + flops, 0);
    expect(1 - plan.totals!.ledger.totals().flopsNonEmbedding / separate).toBeCloseTo(21 / 85, 3);
  });

  it('inheritune: the first layers of a reference, until its loss is reached', () => {
    const run = inheritune({ ...exampleRun, from: 'reference', layers: 6, loss: 3.1 });
    const reference = stackbert(exampleRun);
    const plan = planRun(parseConfig(reference), { vocabSize: 2048 });
    const parent = { config: plan.stages.at(-1)!.model, ledger: plan.totals!.ledger, flopsKnown: true };
    const stages = planRun(parseConfig(run), { vocabSize: 2048, parent }).stages;
    expect(stages[1]).toMatchObject({ model: { num_hidden_layers: 6 }, config: { until: { loss: 3.1, steps: 2000 } } });
    // The reference is part of the cost.
    expect(stages[1]!.kind === 'train' && stages[1]!.begins.exact).toBe(plan.totals!.ledger.exact);
  });
});

describe('compare-operators', () => {
  const sweep = compareOperators({ data: 'no-shards' });
  const withVocabulary = {
    ...sweep,
    bases: Object.fromEntries(
      Object.entries(sweep.bases!).map(([name, run]) => [
        name,
        { ...run, model: { ...(run.model as object), vocab_size: 2048 } },
      ]),
    ),
    cells: sweep.cells.map((cell) =>
      cell.run.model === undefined
        ? cell
        : { ...cell, run: { ...cell.run, model: { ...(cell.run.model as object), vocab_size: 2048 } } },
    ),
  };

  it('grows every operator to the same target at the same FLOPs, bases trained once per seed', () => {
    const { jobs } = planJobs(withVocabulary, 'compare-operators', 'out');
    const { runs } = forecastSweep(jobs);
    const scratch = runs.find(({ name }) => name === 'scratch-x1-seed1')!;
    const small = runs.filter(({ name }) => name.startsWith('scratch-3-layers'));
    expect(small).toHaveLength(3);
    for (const run of runs.filter((one) => one.kind === 'cell' && !small.includes(one)))
      expect(run.parameters, run.name).toBe(scratch.parameters);
    expect(runs.filter(({ kind }) => kind === 'base')).toHaveLength(2 * 3 + 2);
    for (const run of runs.filter(({ base }) => base !== undefined)) {
      const base = runs.find(({ name }) => name === run.base)!;
      expect((run.flops! + base.flops!) / OPERATORS_BUDGET, run.name).toBeCloseTo(1, 2);
    }
  });

  it('learned-operators: the same places for every inserted layer, equal FLOPs, three seeds each', () => {
    const { jobs } = planJobs(learnedOperators({ data: 'missing' }), 'learned-operators', 'runs/learned-operators');
    expect(jobs.filter(({ kind }) => kind === 'base')).toHaveLength(9);
    expect(jobs.filter(({ kind }) => kind === 'cell')).toHaveLength(27);
    const source = parseConfig(learnedOperators({ data: 'missing' }).bases!['lesa-base-seed1']!);
    const model = planRun(source, { vocabSize: 2048 }).stages[0]!.model;
    // 8 to 12 layers: new ones behind layers 3, 4, 5 and 6.
    const isOld = insertedLayers(8, 12).map(({ operator, options }) => {
      const { layers } = planGrowth({
        operator,
        source: model,
        target: { num_hidden_layers: 12 },
        options: options ?? {},
      });
      const seen = new Set<number>();
      return layers!.map((layer) => {
        if (layer.kind !== 'copy' || seen.has(layer.from)) return false;
        seen.add(layer.from);
        return true;
      });
    });
    const expected = [...'111101010101'].map((one) => one === '1');
    for (const places of isOld) expect(places).toEqual(expected);
  });
});
