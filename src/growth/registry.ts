import { suggestion } from '../architecture/index.js';
import { InputError } from '../errors.js';
import type { OperatorDefinition } from './operator.js';
import { stack } from './operators/stack.js';

/** All growth operators by id. */
export const operators: ReadonlyMap<string, OperatorDefinition> = new Map(
  [stack].map((operator) => [operator.id, operator]),
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
