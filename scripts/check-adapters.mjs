// `npm run check:adapters`: the same small study on Strata's trainer and on Hugging Face's Trainer gives intervals that overlap, and the
// converters for torchtitan, Megatron and nanochat agree with what those trainers compute; all in a Python environment of its own.
//   node scripts/check-adapters.mjs [--keep FOLDER] [--converters]
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { main, root, say, setup, SetupError } from './setup.mjs';

const PACKAGES = ['transformers', 'accelerate', 'safetensors'];
/** Largest difference of an end point's loss between the two trainers, in nats: the same arithmetic in another order, over a whole run. */
const LOSS_TOLERANCE = 0.01;

const { values } = parseArgs({ options: { keep: { type: 'string' }, converters: { type: 'boolean' } } });

await main(async () => {
  await setup();
  const { peerPython } = await import(join(root, 'dist', 'bench', 'venv.js'));
  const python = peerPython(PACKAGES, say);
  const folder = values.keep ?? mkdtempSync(join(tmpdir(), 'strata-check-adapters-'));
  mkdirSync(folder, { recursive: true });
  try {
    let failed = converters(python) + nanochat(python, folder);
    if (values.converters !== true) failed += studies(python, folder);
    say(failed === 0 ? 'The adapters agree with Strata.' : `${failed} checks failed.`);
    process.exitCode = failed === 0 ? 0 : 1;
  } finally {
    if (values.keep === undefined) rmSync(folder, { recursive: true, force: true });
  }
});

function converters(python) {
  const { status, stderr } = spawnSync(python, ['-m', 'unittest', 'test_converters'], {
    cwd: join(root, 'adapters'),
    encoding: 'utf8',
  });
  say(
    `  ${status === 0 ? 'same  ' : 'DIFFER'} torchtitan, Megatron, nanochat: tiny tensors against each trainer's own layout`,
  );
  if (status !== 0) say(stderr);
  return status === 0 ? 0 : 1;
}

/** A nanochat checkpoint to a folder, grown by stack, and back: layers 0 1 0 1. */
function nanochat(python, folder) {
  const [convert, at] = [join(root, 'adapters', 'nanochat', 'convert.py'), (name) => join(folder, name)];
  const made = `
import json, sys, torch
state = {"transformer.wte.weight": torch.randn(64, 32), "lm_head.weight": torch.randn(64, 32), "resid_lambdas": torch.tensor([1.0, 2.0])}
for layer in range(2):
    for name in ("attn.c_q", "attn.c_k", "attn.c_v", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
        rows, columns = {"mlp.c_fc": (128, 32), "mlp.c_proj": (32, 128)}.get(name, (32, 32))
        state[f"transformer.h.{layer}.{name}.weight"] = torch.randn(rows, columns)
torch.save(state, sys.argv[1])
json.dump({"model_config": {"sequence_len": 64, "vocab_size": 60, "n_layer": 2, "n_head": 4, "n_kv_head": 4, "n_embd": 32}}, open(sys.argv[2], "w"))`;
  const compared = `
import sys, torch
a, b = (torch.load(path, weights_only=True) for path in sys.argv[1:])
same = all(torch.equal(b[f"transformer.h.{l}.{n}.weight"], a[f"transformer.h.{l % 2}.{n}.weight"]) for l in range(4) for n in ("attn.c_q", "mlp.c_proj"))
sys.exit(0 if same and b["resid_lambdas"].tolist() == [1.0, 2.0, 1.0, 2.0] else 1)`;
  run(python, ['-c', made, at('model_1.pt'), at('meta_1.json')]);
  run(python, [convert, 'from', at('model_1.pt'), at('meta_1.json'), at('nanochat')]);
  strata(['grow', at('nanochat'), '--operator', 'stack', '--factor', '2', '--out', at('nanochat-grown'), '--quiet']);
  run(python, [convert, 'to', at('nanochat-grown'), at('model_2.pt'), at('meta_2.json')]);
  const { status } = spawnSync(python, ['-c', compared, at('model_1.pt'), at('model_2.pt')]);
  say(`  ${status === 0 ? 'same  ' : 'DIFFER'} nanochat: a checkpoint grown by stack, layers 0 1 0 1`);
  return status === 0 ? 0 : 1;
}

/** One small study on both trainers: end points, intervals, the A/A control. */
function studies(python, folder) {
  const data = makeData(folder);
  const adapter = join(root, 'adapters', 'huggingface', 'train.py');
  const trainers = { strata: undefined, huggingface: { command: `${python} {adapter} {input} {output}`, adapter } };
  const results = Object.entries(trainers).map(([name, trainer]) => {
    const file = join(folder, `${name}.json`);
    writeFileSync(file, JSON.stringify({ ...smallStudy(data), ...(trainer === undefined ? {} : { trainer }) }));
    const out = join(folder, name);
    strata(['study', file, '--out', out, '--threads', '2', '--quiet']);
    return JSON.parse(readFileSync(join(out, 'results.json'), 'utf8'));
  });
  return compareResults(...results);
}

function compareResults(ours, theirs) {
  let failed = 0;
  const check = (is, text) => {
    if (!is) failed++;
    say(`  ${is ? 'same  ' : 'DIFFER'} ${text}`);
  };
  const differences = ours.endPoints.map(({ job, loss }) =>
    Math.abs(loss - theirs.endPoints.find((end) => end.job === job).loss),
  );
  const most = Math.max(...differences);
  check(most <= LOSS_TOLERANCE, `${differences.length} end points: losses differ by at most ${most.toExponential(1)}`);
  for (const one of ours.comparisons) {
    const other = theirs.comparisons.find(({ arm, budget }) => arm === one.arm && budget === one.budget);
    const show = (interval) =>
      interval === null
        ? 'not bracketed'
        : `[${[interval.low, interval.high].map((x) => `${(100 * x).toFixed(1)} %`).join(', ')}]`;
    const overlap = (a, b) => (a === null || b === null ? a === b : a.low <= b.high && b.low <= a.high);
    check(
      overlap(one.speedup, other.speedup),
      `${one.arm}: Strata ${show(one.speedup)}, Hugging Face ${show(other.speedup)}`,
    );
    if (one.role === 'again')
      for (const { speedup } of [one, other])
        check(speedup !== null && speedup.low < 0 && speedup.high > 0, `A/A holds 0: ${show(speedup)}`);
  }
  return failed;
}

function smallStudy(data) {
  return {
    name: 'small',
    hypothesis: 'The same study gives the same answer on both trainers.',
    stopRule: 'All cells, once.',
    data: { train: data, sequenceLength: 64, maxEpochs: 20 },
    validationTokens: 16384,
    parts: [
      {
        name: 'small',
        model: { hidden_size: 32, num_hidden_layers: 4, num_attention_heads: 2, intermediate_size: 96 },
        batchTokens: 1024,
        tokensPerParameter: 4,
        budgets: [1],
        scratchBudgets: [0.5, 1, 2],
        seeds: [1, 2],
        optimizer: { lr: 8e-3 },
        warmup: 10,
        arms: [{ name: 'stack', operator: 'stack', base: { num_hidden_layers: 2 }, growthShare: 0.2 }],
        controls: {
          sizes: [{ model: { num_hidden_layers: 2 } }],
          again: [11, 12],
          rewarm: false,
          untrained: false,
          cosine: false,
        },
      },
    ],
  };
}

/** Shards of the novels that come with Strata. */
function makeData(folder) {
  const corpus = (name) => join(root, 'corpora', 'novels-small', `${name}.jsonl.gz`);
  const tokenizer = join(folder, 'tokenizer.json');
  const data = join(folder, 'shards');
  strata(['tokenizer', 'train', corpus('validation'), '--vocab-size', '512', '--out', tokenizer, '--quiet']);
  const flags = ['--val', corpus('validation'), '--tokenizer', tokenizer, '--out', data, '--workers', '1', '--quiet'];
  strata(['data', 'build', corpus('train'), ...flags]);
  return data;
}

function strata(args) {
  run(process.execPath, [join(root, 'dist', 'src', 'cli', 'main.js'), ...args]);
}

function run(command, args) {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 2 ** 28 });
  if (status !== 0) throw new SetupError(`${command} ${args.join(' ')} failed:\n${stdout}${stderr}`);
}
