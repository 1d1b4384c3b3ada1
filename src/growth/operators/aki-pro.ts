import { z } from 'zod';
import { substitute } from '../expression.js';
import { copies, growingLayers, planLayers } from '../layer-plan.js';
import { defineOperator } from '../operator.js';
import { akiOptions, planAki } from './aki.js';
import { interpolatedLayers } from './interpolate.js';

/** AquilaMoE's growth: interpolation in depth, AKI in width, with the number of kv heads kept. */
export const akiPro = defineOperator({
  id: 'aki-pro',
  title: 'AKI-Pro: interpolated layers, widened by AKI, kv heads kept',
  paper: 'Zhang et al. 2024, arXiv 2408.06567 (AquilaMoE)',
  direction: 'both',
  size: 'larger',
  summary: 'Repeats each layer in place, then widens by AKI; query heads grow inside the kv groups that there are.',
  options: z.strictObject(akiOptions),
  reaches: 'any number of layers and any width that aki reaches; --kv-heads changes the kv heads',
  preservesFunction: { claimed: false, condition: 'the loss starts higher' },
  drawing: `source   0 1              heads   q0 q1 | q2 q3
target   0 0 1 1          heads   q0 q1 q0' q1' | q2 q3 q2' q3'`,
  plan(request) {
    const { family, source, sizes, widthFactor, options, seed } = request;
    const layers = growingLayers('aki-pro', request, source.num_hidden_layers);
    const deep = planLayers(request, copies(interpolatedLayers(source.num_hidden_layers, layers)));
    const widths = {
      ...sizes,
      num_hidden_layers: layers,
      num_key_value_heads: sizes.num_key_value_heads ?? source.num_key_value_heads,
    };
    const wide = planAki('aki-pro', family, deep.target, widths, widthFactor, options, seed);
    const tensors = Object.fromEntries(
      Object.entries(wide.tensors).map(([name, of]) => [name, substitute(of, (from) => deep.tensors[from]!)]),
    );
    const unchanged = deep.preservesFunction?.claimed && wide.preservesFunction?.claimed;
    const { preservesFunction: _, ...draft } = wide;
    return {
      ...draft,
      layers: deep.layers!,
      tensors,
      ...(unchanged ? { preservesFunction: { claimed: true, condition: 'nothing changes' } } : {}),
    };
  },
});
