import type { RunInput } from '../src/index.js';
import { commonFields, exampleRun, type GrowingRun } from './stackbert.js';

/**
 * Multi-stage layerwise training (Yang et al. 2020, arXiv 2011.13635): copies of the top layers are put on top, and only they are trained, with the
 * final norm and the head; the last stage trains all.
 *
 * A frozen stage costs about 2 N + 4 N_top a token instead of 6 N.
 *
 * @param added Layers per growth.
 * @param finalShare Share of the steps in which all layers are trained.
 */
export function mslt(run: GrowingRun & { readonly added: number; readonly finalShare?: number }): RunInput {
  const { steps, added, finalShare = 0.4, model, lr = 4e-3 } = run;
  const growths = model.num_hidden_layers / added - 1;
  const part = Math.floor((steps * (1 - finalShare)) / (growths + 1));
  const train = { kind: 'train', until: { steps: part }, optimizer: { lr } } as const;
  const stages: RunInput['stages'] = [{ ...train, name: 'bottom', model: { num_hidden_layers: added } }];
  for (let growth = 1; growth <= growths; growth++)
    stages.push(
      {
        name: `grow-${growth}`,
        kind: 'grow',
        operator: 'gradual-top',
        model: { num_hidden_layers: added * (growth + 1) },
      },
      { ...train, name: `top-${growth}`, trainable: { lastLayers: added } },
    );
  stages.push({ ...train, name: 'all', until: { steps: steps - part * (growths + 1) } });
  return { ...commonFields(run, 'mslt'), stages };
}

export default (): RunInput => mslt({ ...exampleRun, added: 3 });
