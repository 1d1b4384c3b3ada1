import { canonicalJson } from '../records/canonical.js';
import type { Expression } from './expression.js';

/** What two plans have in common and what not. */
export interface PlanDifference {
  readonly equal: boolean;
  /** Fields of the target config that differ. */
  readonly target: Readonly<Record<string, readonly [unknown, unknown]>>;
  /** Tensors that only one of them makes. */
  readonly onlyFirst: readonly string[];
  readonly onlySecond: readonly string[];
  /** Tensors that they make differently. */
  readonly changed: Readonly<Record<string, readonly [Expression, Expression]>>;
}

/** What a plan is compared by: it may come from a file. */
export interface ComparablePlan {
  readonly target: Readonly<Record<string, unknown>>;
  readonly tensors: Readonly<Record<string, Expression>>;
}

/** Compares two plans tensor by tensor. */
export function diffPlans(a: ComparablePlan, b: ComparablePlan): PlanDifference {
  const differ = (x: unknown, y: unknown): boolean => canonicalJson(x ?? null) !== canonicalJson(y ?? null);
  const fields = [...new Set([...Object.keys(a.target), ...Object.keys(b.target)])];
  const target = fields
    .filter((field) => differ(a.target[field], b.target[field]))
    .map((field) => [field, [a.target[field], b.target[field]] as const] as const);
  const changed = Object.keys(a.tensors)
    .filter((name) => name in b.tensors && differ(a.tensors[name], b.tensors[name]))
    .map((name) => [name, [a.tensors[name]!, b.tensors[name]!] as const] as const);
  const onlyFirst = Object.keys(a.tensors).filter((name) => !(name in b.tensors));
  const onlySecond = Object.keys(b.tensors).filter((name) => !(name in a.tensors));
  const equal = target.length + changed.length + onlyFirst.length + onlySecond.length === 0;
  return { equal, target: Object.fromEntries(target), onlyFirst, onlySecond, changed: Object.fromEntries(changed) };
}
