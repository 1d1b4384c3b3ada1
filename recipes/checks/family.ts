// The small check of a progressive family on the novels: node dist/recipes/checks/family.js [--out DIR] [--seeds 1,2,3] [--steps N] [--threads 1]; N tokens a parameter
import { join } from 'node:path';
import { measureAgreement } from '../../src/eval/index.js';
import { openDataset, train } from '../../src/index.js';
import { loadModel } from '../../src/infer/index.js';
import { releasedMembers } from '../../src/train/index.js';
import { apart, family, type FamilyRun, type Member } from '../family.js';
import { novelShards } from './corpus.js';
import { checkSettings, spread } from './settings.js';

const MEMBERS: readonly Member[] = [
  { name: 'a', num_hidden_layers: 2, hidden_size: 32, num_attention_heads: 2, intermediate_size: 80 },
  { name: 'b', num_hidden_layers: 4, hidden_size: 32, num_attention_heads: 2, intermediate_size: 80 },
  { name: 'c', num_hidden_layers: 4, hidden_size: 64, num_attention_heads: 4, intermediate_size: 160 },
];
const TOKENS = 2000;

const settings = checkSettings({ out: 'runs/checks', steps: 1 });
const data = await novelShards(settings.out, 512);
const table = new Map<string, number[]>();
const note = (row: string, value: number): void => void table.set(row, [...(table.get(row) ?? []), value]);

for (const seed of settings.seeds) {
  const setup: FamilyRun = {
    ...{ data, seed, members: MEMBERS, lr: 8e-3, agreement: TOKENS, sequenceLength: 64, batchTokens: 512 },
    model: { vocab_size: 512, head_dim: 16 },
    tokensPerParameter: settings.steps,
  };
  const folder = join(settings.out, 'family', `seed-${seed}`);
  const options = (name: string) => ({ out: join(folder, name), threads: settings.threads });
  const chain = await train(family(setup), options('chain'));
  const released = releasedMembers(chain.folder);
  const alone = [];
  for (const run of apart(setup)) alone.push(await train(run, options(run.name)));
  using dataset = openDataset(join(data, 'validation'));
  const agreement = async (one: string, other: string) => {
    using small = loadModel(one, { threads: settings.threads });
    using large = loadModel(other, { threads: settings.threads });
    return measureAgreement(small, large, dataset, { tokens: TOKENS });
  };
  for (const [i, member] of released.entries()) {
    const { name } = MEMBERS[i]!;
    note(`${name} (${member.nonEmbeddingParameters} parameters), loss in the chain`, member.validationLoss!);
    note(`${name}, loss apart`, alone[i]!.validationLoss!);
    note(`${name}, FLOPs of the chain so far`, member.flops);
    note(`${name}, FLOPs apart`, alone[i]!.flops);
    const before = released[i - 1];
    if (before === undefined) continue;
    const [inChain, trainedApart] = [
      await agreement(before.folder, member.folder),
      await agreement(alone[i - 1]!.folder, alone[i]!.folder),
    ];
    const pair = `KL(${before.stage} || ${name})`;
    note(`${pair} in the chain`, inChain.kl);
    note(`${pair} apart`, trainedApart.kl);
    note(`same top token, ${before.stage} and ${name}, in the chain`, inChain.topOneMatch);
    note(`same top token, ${before.stage} and ${name}, apart`, trainedApart.topOneMatch);
  }
  note('FLOPs saved by the chain', 1 - chain.flops / alone.reduce((sum, { flops }) => sum + flops, 0));
}
console.log(`over seeds ${settings.seeds.join(', ')}`);
for (const [row, values] of table)
  console.log(
    `${row.padEnd(48)} ${row.includes('FLOPs') && !row.includes('saved') ? values[0]!.toExponential(3) : spread(values)}`,
  );
