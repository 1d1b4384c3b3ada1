import { z } from 'zod';
import { InputError } from '../../errors.js';
import { copies, planLayers } from '../layer-plan.js';
import { defineOperator } from '../operator.js';
import { requestedLayers } from '../target.js';

/**
 * Parses a stacking pattern in the notation of the G_stack paper: parts joined by `-`, a part is layers counted from 1 with an
 * optional `*times`. More than nine layers are written as ranges, `1..12`.
 *
 * @returns Source layers counted from 0.
 * @throws InputError naming the part.
 */
export function parsePattern(pattern: string, layers: number): number[] {
  const list = pattern.split('-').flatMap((part) => {
    const match = /^(?:(\d+)\.\.(\d+)|(\d+))(?:\*(\d+))?$/.exec(part.trim());
    if (match === null)
      throw new InputError(
        `Pattern "${pattern}": part "${part}" must be layers such as 234 or 2..4, with an optional *times.`,
      );
    const [, from, to, digits, times = '1'] = match;
    if (Number(times) < 1 || Number(times) > 10_000)
      throw new InputError(`Pattern "${pattern}": part "${part}" must be repeated 1 to 10000 times.`);
    const once =
      digits === undefined
        ? Array.from(
            { length: Math.max(0, Math.min(Number(to), layers + 1) - Number(from) + 1) },
            (_, i) => Number(from) + i,
          )
        : [...digits].map(Number);
    if (once.length === 0) throw new InputError(`Pattern "${pattern}": range "${part}" must go upwards.`);
    return Array.from({ length: Number(times) }, () => once).flat();
  });
  checkLayers(
    list.map((layer) => layer - 1),
    layers,
    `Pattern "${pattern}"`,
    1,
  );
  return list.map((layer) => layer - 1);
}

function checkLayers(list: readonly number[], layers: number, what: string, first: number): void {
  const wrong = list.find((layer) => layer < 0 || layer >= layers);
  if (wrong !== undefined)
    throw new InputError(`${what}: the source has layers ${first} to ${layers - 1 + first}, found ${wrong + first}.`);
}

/** Any order of the source's layers. */
export const partialStack = defineOperator({
  id: 'partial-stack',
  title: 'any order of layers, by a pattern or a list',
  paper: 'Du et al. 2024, arXiv 2405.15319, appendix H',
  direction: 'depth',
  size: 'any',
  summary: 'Stacks only a part of the layers, or puts them in any order.',
  options: z.strictObject({
    pattern: z
      .string()
      .optional()
      .describe("the paper's notation, layers counted from 1: 1-234*2-56; ranges for more than nine layers: 1..12*3"),
    layers: z.array(z.int().min(0)).min(1).optional().describe('a list of source layers counted from 0: [0,1,2,1,2,3]'),
  }),
  reaches: 'whatever the pattern or the list says; --layers or --factor must agree with it',
  preservesFunction: { claimed: false, condition: 'the loss jumps at growth' },
  drawing: `source   0 1 2 3 4 5
target   0 1 2 3 1 2 3 4 5        pattern 1-234*2-56`,
  plan(request) {
    const { pattern, layers } = request.options;
    const count = request.source.num_hidden_layers;
    if ((pattern === undefined) === (layers === undefined))
      throw new InputError('Operator partial-stack needs either --opt pattern=... or --opt layers=[...].');
    if (layers !== undefined) checkLayers(layers, count, 'Option layers', 0);
    const list = layers ?? parsePattern(pattern!, count);
    const asked = requestedLayers(request.source, request.sizes, request.depthFactor);
    if (asked !== undefined && asked !== list.length)
      throw new InputError(`Operator partial-stack: the pattern gives ${list.length} layers, ${asked} were asked for.`);
    return planLayers(request, copies(list));
  },
});
