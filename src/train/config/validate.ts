import { z } from 'zod';
import { suggestion } from '../../architecture/index.js';
import { InputError } from '../../errors.js';

/** Path of a field: `['stages', 0, 'optimizer', 'lr']`. */
export type Path = readonly (string | number)[];

/** Names the place of a field: `run.yaml:12`, `--set stages.base.until.tokens`. */
export type Locate = (path: Path) => string;

/**
 * Checks a value against a schema and fills in its defaults.
 *
 * @param locate Names the place of a field in messages.
 * @param prefix Path of the value itself, where it is part of a larger config.
 * @throws InputError with place, field, what was expected and what was found; unknown fields come with the nearest name.
 */
export function validate<T extends z.ZodType>(
  schema: T,
  value: unknown,
  locate: Locate,
  prefix: Path = [],
): z.output<T> {
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return result.data;
  // A misspelt field is also a missing one; the first says more.
  const { issues } = result.error;
  const issue = deepest(issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0]!);
  const within = issue.path.filter((key) => typeof key !== 'symbol');
  const path = [...prefix, ...within];
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0] ?? '';
    const near = suggestion(key, fieldsAt(schema, within, value));
    throw new InputError(`${locate([...path, key])}: unknown field "${dotPath([...path, key])}"${near}.`);
  }
  const field = path.length === 0 ? '' : `field "${dotPath(path)}"`;
  if (issue.input === undefined) throw new InputError(`${locate(path)}: ${field} is missing.`);
  const message = issue.message.replace(/^Invalid input: /, '').replace(/^Invalid option: /, '');
  throw new InputError(`${locate(path)}: ${field}: ${message}, found ${show(issue.input)}.`);
}

export const dotPath = (path: Path): string => path.join('.');

/** Of a union's issues, those of the one option that got furthest, where exactly one did. */
function deepest(issue: z.core.$ZodIssue): z.core.$ZodIssue {
  if (issue.code !== 'invalid_union') return issue;
  const inner = issue.errors
    .flat()
    .filter((candidate) => candidate.path.length > 0 || candidate.code === 'unrecognized_keys');
  const [only] = inner;
  if (inner.length !== 1 || only === undefined) return issue;
  return deepest({ ...only, path: [...issue.path, ...only.path] } as z.core.$ZodIssue);
}

/** Names that a strict object at a path may have. */
function fieldsAt(schema: z.ZodType, path: Path, value: unknown): string[] {
  let options: z.core.$ZodType[] = [schema];
  let at = value;
  for (const key of path) {
    options = options.flatMap((option) => objectsOf(option, at)).flatMap((option) => childOf(option, key));
    at = (at as Record<string | number, unknown> | undefined)?.[key];
  }
  return options
    .flatMap((option) => objectsOf(option, at))
    .flatMap((option) => (option instanceof z.ZodObject ? Object.keys(option.shape) : []));
}

/** A schema without its wrappers; of a union the options that fit the value's discriminator. */
function objectsOf(schema: z.core.$ZodType, value: unknown): z.core.$ZodType[] {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) return objectsOf(schema.unwrap(), value);
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) return objectsOf(schema.unwrap(), value);
  if (schema instanceof z.ZodDiscriminatedUnion) {
    const kind = (value as { kind?: unknown } | undefined)?.kind;
    return schema.options.filter(
      (option) => option instanceof z.ZodObject && (option.shape['kind'] as z.ZodType).safeParse(kind).success,
    );
  }
  if (schema instanceof z.ZodUnion) return schema.options.flatMap((option) => objectsOf(option, value));
  return [schema];
}

function childOf(schema: z.core.$ZodType, key: string | number): z.core.$ZodType[] {
  if (schema instanceof z.ZodArray) return [schema.element];
  const child = schema instanceof z.ZodObject ? (schema.shape as Record<string, z.ZodType>)[key] : undefined;
  return child === undefined ? [] : [child];
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
