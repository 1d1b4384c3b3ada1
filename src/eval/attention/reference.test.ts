import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { fixtures } from '../../../test/support/harness-reference.js';
import { counters } from '../../engine/buffers.js';
import { AttentionReader } from '../../infer/attention-inputs.js';
import { loadModel } from '../../infer/index.js';
import { attentionMatrix } from './matrix.js';
import { approximateRank, columnMass } from './rank.js';

const folder = `${fixtures}models/stories260K`;
const read = <T>(name: string): T => JSON.parse(readFileSync(`${folder}/${name}`, 'utf8')) as T;

it('ranks and columns of every head are those of the attention that transformers gives', () => {
  const before = counters();
  {
    using model = loadModel(folder, { threads: 1 });
    const { ids } = read<{ ids: number[] }>('reference.json');
    using reader = new AttentionReader(model, ids.length);
    const found = reader.read(Int32Array.from(ids)).map((inputs) => {
      const matrices = Array.from({ length: inputs.attributes.heads }, (_, head) => attentionMatrix(inputs, head));
      return {
        rank: matrices.map((matrix) => approximateRank(matrix, ids.length)),
        columns: matrices.map((matrix) => columnMass(matrix, ids.length)),
      };
    });
    expect(found).toEqual(read<{ layers: unknown }>('attention.json').layers);
  }
  expect(counters()).toEqual(before);
});
