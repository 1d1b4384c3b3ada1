import { suggestion } from '../architecture/index.js';
import { InputError } from '../errors.js';
import type { OperatorDefinition } from './operator.js';
import { aki } from './operators/aki.js';
import { akiPro } from './operators/aki-pro.js';
import { average } from './operators/average.js';
import { blockExpansion } from './operators/block-expansion.js';
import { directWidth } from './operators/direct-width.js';
import { dlo } from './operators/dlo.js';
import { expand } from './operators/expand.js';
import { fpi } from './operators/fpi.js';
import { gradualTop } from './operators/gradual-top.js';
import { hypercloning } from './operators/hypercloning.js';
import { inherit } from './operators/inherit.js';
import { interpolate } from './operators/interpolate.js';
import { lemon } from './operators/lemon.js';
import { lesa } from './operators/lesa.js';
import { ligo, ligoDepth, ligoWidth } from './operators/ligo.js';
import { meanField } from './operators/mean-field.js';
import { midas } from './operators/midas.js';
import { msg } from './operators/msg.js';
import { mupWidth } from './operators/mup-width.js';
import { optDeus } from './operators/opt-deus.js';
import { partialStack } from './operators/partial-stack.js';
import { randomDepth } from './operators/random-depth.js';
import { randomWidth } from './operators/random-width.js';
import { route } from './operators/route.js';
import { solar } from './operators/solar.js';
import { sparkling } from './operators/sparkling.js';
import { stack } from './operators/stack.js';
import { staged } from './operators/staged.js';
import { stagedWidth } from './operators/staged-width.js';
import { szp } from './operators/szp.js';
import { zeroDepth } from './operators/zero-depth.js';
import { zeroWidth } from './operators/zero-width.js';

/** All growth operators by id. */
export const operators: ReadonlyMap<string, OperatorDefinition> = new Map(
  [
    stack,
    interpolate,
    partialStack,
    gradualTop,
    midas,
    solar,
    blockExpansion,
    dlo,
    average,
    lesa,
    zeroDepth,
    randomDepth,
    ligoDepth,
    expand,
    optDeus,
    inherit,
    route,
    directWidth,
    fpi,
    aki,
    hypercloning,
    lemon,
    stagedWidth,
    meanField,
    zeroWidth,
    randomWidth,
    ligoWidth,
    szp,
    sparkling,
    mupWidth,
    ligo,
    staged,
    msg,
    akiPro,
  ].map((operator) => [operator.id, operator]),
);

/**
 * The operator of an id.
 *
 * @throws InputError with the nearest id for an unknown one.
 */
export function operatorOf(id: string): OperatorDefinition {
  const operator = operators.get(id);
  if (operator !== undefined) return operator;
  throw new InputError(
    `Unknown operator "${id}"${suggestion(id, operators.keys())}; there are ${[...operators.keys()].join(', ')}.`,
  );
}
