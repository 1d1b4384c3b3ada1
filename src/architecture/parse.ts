import { z } from 'zod';
import { cite, InputError } from '../errors.js';
import { suggestion } from './nearest.js';

/**
 * Parses a value by a schema.
 *
 * @param source What the value is, for the message ("model", a file name ...).
 * @throws InputError naming source, field, what was expected and what was found; misspelt fields come with the nearest name.
 */
export function parseBySchema<T extends z.ZodType>(schema: T, value: unknown, source: string): z.output<T> {
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return result.data;
  throw new InputError(describeIssue(result.error.issues[0]!, schema, source));
}

function describeIssue(issue: z.core.$ZodIssue, schema: z.ZodType, source: string): string {
  const path = z.core.toDotPath(issue.path);
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0] ?? '';
    const field = path === '' ? key : `${path}.${key}`;
    return `${source}: unknown field ${cite(field)}${suggestion(key, fieldsAt(schema, issue.path))}.`;
  }
  const where = path === '' ? source : `${source}: field "${path}"`;
  if (issue.input === undefined && issue.code === 'invalid_type') return `${where} is missing.`;
  return `${where}: ${issue.message.replace(/^Invalid input: /, '')}, found ${cite(issue.input)}.`;
}

function fieldsAt(schema: unknown, path: readonly PropertyKey[]): string[] {
  let at: unknown = schema;
  for (const key of path) at = unwrap(at) instanceof z.ZodObject ? (unwrap(at) as z.ZodObject).shape[String(key)] : at;
  const object = unwrap(at);
  return object instanceof z.ZodObject ? Object.keys(object.shape) : [];
}

function unwrap(schema: unknown): unknown {
  let inner = schema;
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodNullable || inner instanceof z.ZodDefault)
    inner = inner.unwrap();
  return inner;
}
