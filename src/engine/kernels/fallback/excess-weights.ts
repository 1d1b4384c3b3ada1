import { at, EXCESS_SCALARS, type ExcessWeightsAttributes, size } from '../../../ops/index.js';
import { arg } from '../../libtorch/dispatch.js';
import { copy } from '../../libtorch/products.js';
import type { Kernel } from '../types.js';
import { Aten } from './aten.js';

export const excessWeights: Kernel<ExcessWeightsAttributes> = ({ inputs, outputs, attributes }) => {
  const [losses, reference, shares, scalars] = [at(inputs, 0), at(inputs, 1), at(inputs, 2), at(inputs, 3)];
  const [weights, sums] = [at(outputs, 0), at(outputs, 1)];
  const { kind, group, clip, alpha } = attributes;
  const items = size(losses.type, 0) / group;
  return () => {
    using aten = new Aten();
    const wide = (tensor: typeof losses): bigint =>
      aten.convert(tensor.stridedHandle([items, group], [group, 1]), 'f64', [items, group]);
    const scalar = (name: (typeof EXCESS_SCALARS)[number]): bigint =>
      scalars.stridedHandle([], [], EXCESS_SCALARS.indexOf(name));
    const constant = (value: number): bigint => aten.addScalar(aten.zeros('f64', []), value);
    const [loss, share] = [wide(losses), wide(shares)];
    // The loss of a token without a share may be anything.
    const counts = aten.call('gt', 'Tensor', share, constant(0));
    const difference = aten.call('where', 'self', counts, aten.sub(loss, wide(reference)), constant(0));
    const itemShare = aten.sum(share, 1);
    const isItem = aten.call('gt', 'Tensor', itemShare, constant(0));
    const mean = aten.div(aten.sum(aten.mul(share, difference), 1), itemShare);
    const clipped = aten.call('maximum', '', aten.call('minimum', '', mean, constant(clip)), constant(-clip));
    const excess = aten.call('where', 'self', isItem, clipped, constant(0));
    const weight =
      kind === 'kl'
        ? aten.call('exp', '', aten.sub(aten.mul(excess, scalar('inverseTau')), scalar('logNormaliser')))
        : selectLargest(aten, excess, isItem, itemShare, alpha);
    const counted = aten.mul(aten.call('where', 'self', isItem, weight, constant(0)), itemShare);
    const itemWeight = aten.view(aten.mul(weight, constant(1)), [items, 1], [1, 1]);
    aten.write(weights, aten.view(aten.mul(share, itemWeight), [items * group], [1]));
    const lossSum = aten.sum(aten.call('where', 'self', counts, aten.mul(share, loss), constant(0)), 1);
    [counted, lossSum, aten.mul(itemShare, excess), aten.mul(counted, excess)].forEach((values, i) =>
      copy(sums.stridedHandle([], [], i), aten.sum(values, 0)),
    );
  };
};

/** Equal weights for the items of largest excess, whose mean by shares is one; 0 for the rest. */
function selectLargest(aten: Aten, excess: bigint, isItem: bigint, share: bigint, alpha: number): bigint {
  const constant = (value: number): bigint => aten.addScalar(aten.zeros('f64', []), value);
  const eligible = aten.call('where', 'self', isItem, excess, constant(-Infinity));
  const order = aten.call('argsort', 'stable', eligible, arg.bool(true), arg.int(0), arg.bool(true));
  const rank = aten.call('argsort', 'stable', order, arg.bool(true), arg.int(0), arg.bool(false));
  const items = aten.sum(aten.mul(isItem, constant(1)), 0);
  const kept = aten.call('ceil', '', aten.addScalar(aten.mulScalar(items, alpha), -1e-9));
  const chosen = aten.mul(aten.call('lt', 'Tensor', rank, kept), constant(1));
  return aten.mul(chosen, aten.div(aten.sum(share, 0), aten.sum(aten.mul(chosen, share), 0)));
}
