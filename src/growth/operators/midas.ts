import { z } from 'zod';
import { InputError } from '../../errors.js';
import { copies, growingLayers, planLayers } from '../layer-plan.js';
import { defineOperator } from '../operator.js';

/** Source layers after inserting copies of the middle block, again and again, until the target is reached. */
export function midasLayers(source: number, target: number, block: number): number[] {
  let blocks = Array.from({ length: source / block }, (_, i) => i);
  while (blocks.length * block < target) {
    const middle = Math.ceil(blocks.length / 2);
    blocks = [...blocks.slice(0, middle), blocks[middle - 1]!, ...blocks.slice(middle)];
  }
  return blocks.flatMap((index) => Array.from({ length: block }, (_, i) => index * block + i));
}

/** MIDAS: a copy of the middle block right after it. */
export const midas = defineOperator({
  id: 'midas',
  title: 'MIDAS: a copy of the middle block right after it',
  paper: 'Saunshi et al. 2024, arXiv 2409.19044',
  direction: 'depth',
  size: 'larger',
  summary: 'Inserts a copy of the middle block of layers behind it: one step of a gradual schedule.',
  options: z.strictObject({
    block: z.int().min(1).default(1).describe('layers of a block; must divide the layers of the source'),
  }),
  reaches: 'the layers of the source plus a multiple of the block',
  preservesFunction: { claimed: false, condition: 'the loss jumps at growth' },
  drawing: `source   0 1 2
target   0 1 1 2        block 1, 4 layers`,
  plan(request) {
    const { block } = request.options;
    const count = request.source.num_hidden_layers;
    const target = growingLayers('midas', request, count + block);
    if (count % block !== 0)
      throw new InputError(`Operator midas: option block must divide the source's ${count} layers, found ${block}.`);
    if ((target - count) % block !== 0)
      throw new InputError(`Operator midas adds blocks of ${block} layers to ${count}, found ${target}.`);
    return planLayers(request, copies(midasLayers(count, target, block)));
  },
});
