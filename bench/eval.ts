import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { countParameters, fillInitial, parseModelConfig, weightSize } from '../src/architecture/index.js';
import { loadTokenizer, type Tokenizer, trainTokenizer } from '../src/data/index.js';
import { WorkError } from '../src/errors.js';
import { evaluateTask, loadTask, ModelScorer, type TaskResult, tasks } from '../src/eval/index.js';
import { type LoadedModel, loadModel } from '../src/infer/index.js';
import { saveModel } from '../src/interop/index.js';
import { LM_EVAL, writeHarnessTasks } from './harness-tasks.js';
import { measurePaired } from './pairs.js';
import { Peer } from './peer.js';
import type { Bench, BenchOptions, CaseResult } from './types.js';
import { peerPython } from './venv.js';

/** Documents of each task in one measurement. */
const TASKS = { arc_easy: 100, sciq: 50, lambada_openai: 100, winogrande: 200, wikitext: 1 } as const;

/** A model of random weights: speed does not depend on what they are. */
const MODEL = {
  hidden_size: 384,
  num_hidden_layers: 8,
  num_attention_heads: 6,
  num_key_value_heads: 6,
  intermediate_size: 1024,
  vocab_size: 8192,
  max_position_embeddings: 1024,
};
/** Documents that the harness scores together; other sizes were not tried. */
const BATCH_SIZE = 16;
/** Both sides score the same model: log-likelihoods further off (absolute, per request; relative for pages) are another computation. */
const TOLERANCE = 2e-3;

interface Answer {
  readonly seconds: number;
  readonly loglikelihoods: readonly (readonly number[])[];
}

/** `strata eval` against lm-evaluation-harness with transformers, on the same model, documents and CPU. */
export const bench: Bench = {
  summary: 'benchmarks scored, against lm-evaluation-harness with transformers (float32)',
  defaultRepetitions: 5,
  async run(options) {
    const data = process.env['STRATA_EVAL_DATA'];
    if (data === undefined || !existsSync(data))
      throw new WorkError('The eval bench needs STRATA_EVAL_DATA, a folder with the published benchmark files.');
    const python = peerPython(LM_EVAL, options.log);
    const harness = execFileSync(python, ['-c', 'import lm_eval; print(lm_eval.__path__[0])'], { encoding: 'utf8' });
    const folder = mkdtempSync(join(tmpdir(), 'strata-bench-eval-'));
    try {
      const names = Object.keys(TASKS).filter((name) => name.includes(options.filter ?? ''));
      await writeHarnessTasks(join(folder, 'tasks'), harness.trim(), data, names);
      await makeModel(join(folder, 'model'), options);
      return await measure(folder, data, names, python, options);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

async function measure(folder: string, data: string, names: readonly string[], python: string, options: BenchOptions) {
  using model = loadModel(join(folder, 'model'), { threads: options.threads });
  const tokenizer = loadTokenizer(join(folder, 'model'));
  const settings = {
    model: join(folder, 'model'),
    tasks: join(folder, 'tasks'),
    threads: options.threads,
    batch_size: BATCH_SIZE,
  };
  const peer = await Peer.start<{ versions: Record<string, string> }>(
    python,
    'lm_eval_tasks.py',
    settings,
    options.threads,
  );
  try {
    const results: CaseResult[] = [];
    for (const name of names) results.push(await measureTask(name, data, model, tokenizer, peer, options));
    const { total } = countParameters(model.config);
    return {
      results,
      versions: peer.ready.versions,
      notes: [
        `Llama of ${(total / 1e6).toFixed(1)} M parameters with random weights, float32; the harness with batches of ${BATCH_SIZE}.`,
        'A measurement covers reading the documents, prompts, tokens, scoring and metrics; loading the model is left out on both sides.',
        `Log-likelihoods of both sides agree within ${TOLERANCE} (relative for pages of wikitext).`,
      ],
    };
  } finally {
    await peer.close();
  }
}

async function measureTask(
  name: string,
  data: string,
  model: LoadedModel,
  tokenizer: Tokenizer,
  peer: Peer<unknown>,
  options: BenchOptions,
): Promise<CaseResult> {
  const limit = TASKS[name as keyof typeof TASKS];
  using scorer = new ModelScorer(model);
  const ours = async (): Promise<{ seconds: number; result: TaskResult }> => {
    const start = performance.now();
    const task = await loadTask(tasks.get(name)!, data, { limit });
    const result = await evaluateTask(task, tokenizer, scorer, { addBos: 'auto' });
    return { seconds: (performance.now() - start) / 1000, result };
  };
  const theirs = (): Promise<Answer> => peer.ask<Answer>({ task: name, limit });
  // The first round of each side is not measured; it shows that both compute the same.
  checkEqual(name, (await ours()).result, await theirs());
  return await measurePaired(
    {
      case: `${name}, ${limit} documents`,
      unit: 'documents/s',
      better: 'higher',
      ours: async () => limit / (await ours()).seconds,
      peers: { 'lm_eval-transformers': async () => limit / (await theirs()).seconds },
    },
    options,
  );
}

function checkEqual(name: string, { documents }: TaskResult, { loglikelihoods }: Answer): void {
  documents.forEach(({ scores, document }, i) =>
    scores.forEach(({ logLikelihood }, j) => {
      const expected = loglikelihoods[i]?.[j] ?? NaN;
      const allowed = TOLERANCE * (document.kind === 'page' ? Math.abs(expected) : 1);
      if (!(Math.abs(logLikelihood - expected) <= allowed))
        throw new WorkError(
          `${name}, document ${i}, request ${j}: lm_eval has log-likelihood ${expected}, Strata ${logLikelihood}.`,
        );
    }),
  );
}

/** A model and a tokenizer trained on the novels that come with Strata, in a Hugging Face folder. */
async function makeModel(folder: string, { log }: BenchOptions): Promise<void> {
  log('Making the model and its tokenizer');
  const config = parseModelConfig({ ...MODEL, bos_token_id: null, eos_token_id: 0 }, 'bench');
  saveModel(folder, config, (spec) => {
    const values = new Float32Array(weightSize(spec));
    fillInitial(values, spec, config, 1);
    return values;
  });
  const inputs = [join(checkout(), 'corpora', 'novels-small', 'train.jsonl.gz')];
  await trainTokenizer({ inputs, out: join(folder, 'tokenizer.json'), vocabSize: MODEL.vocab_size });
  const tokenizerConfig = join(checkout(), 'bench', 'peers', 'tokenizer_config.json');
  cpSync(tokenizerConfig, join(folder, 'tokenizer_config.json'));
}

function checkout(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return folder;
}
