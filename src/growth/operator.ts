import type { z } from 'zod';
import type { Family, ModelConfig } from '../architecture/index.js';
import type { PlanDraft } from './plan.js';
import type { TargetSizes } from './target.js';

/** What an operator is asked to do. */
export interface OperatorRequest<Options> {
  readonly family: Family;
  readonly source: ModelConfig;
  /** Sizes that were named; empty where only a factor, or nothing, was given. */
  readonly sizes: TargetSizes;
  /** Factor of the layers, if one was given. */
  readonly depthFactor?: number;
  /** Factor of hidden, heads, kv heads and ffn, if one was given. */
  readonly widthFactor?: number;
  readonly options: Options;
  readonly seed: number;
}

/** A growth operator: everything about it that is not weights. */
export interface OperatorDefinition<Schema extends z.ZodObject = z.ZodObject> {
  readonly id: string;
  readonly title: string;
  /** Where it comes from: authors, year and identifier. */
  readonly paper: string;
  readonly direction: 'depth' | 'width' | 'both';
  readonly size: 'larger' | 'smaller' | 'any';
  /** What it does, in one or two sentences. */
  readonly summary: string;
  /** Options beside the common ones, each with a default and a description. */
  readonly options: Schema;
  /** Which targets it reaches. */
  readonly reaches: string;
  /** Whether the grown model computes the same function, and when. */
  readonly preservesFunction: { readonly claimed: boolean; readonly condition: string };
  /** What its `prepare` phase learns from, where it has one: text, or the source's own weights. */
  readonly learns?: 'text' | 'weights';
  /** An example of what goes where, as lines of text. */
  readonly drawing: string;
  /** What to know when choosing or using it. */
  readonly advice?: string;
  plan(request: OperatorRequest<z.output<Schema>>): PlanDraft;
}

/** Gives an operator its types. */
export const defineOperator = <Schema extends z.ZodObject>(
  definition: OperatorDefinition<Schema>,
): OperatorDefinition => definition as unknown as OperatorDefinition;
