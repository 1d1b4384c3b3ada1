import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { parseBySchema } from '../../architecture/index.js';
import { InputError } from '../../errors.js';
import { writeFileAtomic } from '../../files/atomic.js';
import { SafetensorsFile, writeSafetensors } from '../../interop/index.js';
import type { FlopsPerToken } from '../../planner/index.js';

export const SCORES_INDEX = 'scores.json';
const TENSOR = 'losses';
/** Losses in one file: 32 MB. */
const PART_TOKENS = 2 ** 24;

const exact = z.string().regex(/^\d+$/);
const schema = z.strictObject({
  format: z.literal('strata-scores'),
  version: z.literal(1),
  /** Identity of the data set whose tokens were scored. */
  data: z.string(),
  /** How the row of tokens was cut: sequence s predicts tokens s * length + 1 to (s + 1) * length. */
  sequenceLength: z.int().min(1),
  crossDocumentAttention: z.boolean(),
  /** SHA-256 of the reference's config and weights, and where it lay. */
  reference: z.object({ sha256: z.string().regex(/^[0-9a-f]{64}$/), path: z.string() }),
  sequences: z.int().min(1),
  sequencesPerPart: z.int().min(1),
  /** Mean loss in nats per token. */
  meanLoss: z.number(),
  /** What the scoring cost. */
  flopsExact: exact,
  flops6ndExact: exact,
  flopsNonEmbeddingExact: exact,
});

/** What a folder of stored losses says of itself. */
export type ScoresIndex = z.output<typeof schema>;

/** What decides whether stored losses are the wanted ones. */
export type ScoresIdentity = Pick<
  ScoresIndex,
  'data' | 'sequenceLength' | 'crossDocumentAttention' | 'sequences' | 'sequencesPerPart'
> & { readonly reference: ScoresIndex['reference'] };

/** Sequences in one file. */
export const sequencesPerPart = (sequenceLength: number): number =>
  Math.max(1, Math.floor(PART_TOKENS / sequenceLength));

/**
 * Reads the index of stored losses.
 *
 * @throws InputError where there is none, or it is damaged.
 */
export function readScoresIndex(folder: string): ScoresIndex {
  const path = join(folder, SCORES_INDEX);
  if (!existsSync(path))
    throw new InputError(
      `${folder}: expected the losses of a reference with a ${SCORES_INDEX} ("strata data score"), found none.`,
    );
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new InputError(`${path} cannot be read as JSON: ${(error as Error).message}.`, { cause: error });
  }
  return parseBySchema(schema, value, path);
}

/** What scoring cost, once. */
export const scoringCost = (index: ScoresIndex): FlopsPerToken => ({
  flops: BigInt(index.flopsExact),
  flops6nd: BigInt(index.flops6ndExact),
  flopsNonEmbedding: BigInt(index.flopsNonEmbeddingExact),
});

/**
 * Throws where stored losses are not those that a run needs.
 *
 * @throws InputError naming what differs: the tokens, how they are cut, or the reference.
 */
export function checkScores(
  folder: string,
  found: ScoresIndex,
  wanted: Omit<ScoresIdentity, 'sequencesPerPart'>,
): void {
  const path = join(folder, SCORES_INDEX);
  const fail = (field: string, expected: unknown, has: unknown, why: string): never => {
    throw new InputError(`${path}: ${field}: expected ${String(expected)}, found ${String(has)}: ${why}.`);
  };
  if (found.data !== wanted.data)
    fail('data', wanted.data.slice(0, 12), found.data.slice(0, 12), 'the losses belong to other tokens');
  for (const field of ['sequenceLength', 'sequences', 'crossDocumentAttention'] as const)
    if (found[field] !== wanted[field])
      fail(field, wanted[field], found[field], 'the tokens were cut into other sequences; score them again');
  if (found.reference.sha256 !== wanted.reference.sha256)
    fail(
      'reference',
      `${wanted.reference.path} (${wanted.reference.sha256.slice(0, 12)})`,
      `${found.reference.path} (${found.reference.sha256.slice(0, 12)})`,
      'the losses are those of another model',
    );
}

/** Path of a part. */
export const partFile = (folder: string, part: number): string =>
  join(folder, `${String(part).padStart(5, '0')}.safetensors`);

/** Metadata of a part: text by text, since safetensors holds nothing else. */
const partMetadata = ({ data, sequenceLength, crossDocumentAttention, reference }: ScoresIdentity) => ({
  data,
  sequenceLength: String(sequenceLength),
  crossDocumentAttention: String(crossDocumentAttention),
  reference: reference.sha256,
});

/** Parts that were written before by a call for the same losses, which an interruption ended. */
export function isPartWritten(folder: string, part: number, identity: ScoresIdentity): boolean {
  const path = partFile(folder, part);
  if (!existsSync(path)) return false;
  using file = new SafetensorsFile(path);
  const wanted = partMetadata(identity);
  return Object.entries(wanted).every(([name, value]) => file.header.metadata[name] === value);
}

/** Writes a part, whole or not at all: `losses` holds its sequences one after the other. */
export function writePart(folder: string, part: number, identity: ScoresIdentity, losses: Float32Array): void {
  mkdirSync(folder, { recursive: true });
  const shape = [losses.length / identity.sequenceLength, identity.sequenceLength];
  writeSafetensors(
    partFile(folder, part),
    [{ name: TENSOR, dtype: 'F16', shape, values: losses }],
    partMetadata(identity),
  );
}

/** Writes the index, which makes the folder whole: last of all. */
export const writeScoresIndex = (folder: string, index: Omit<ScoresIndex, 'format' | 'version'>): void =>
  writeFileAtomic(
    join(folder, SCORES_INDEX),
    `${JSON.stringify({ format: 'strata-scores', version: 1, ...index }, null, 1)}\n`,
  );

/** Stored losses of a reference, by the place of a sequence in the row of tokens. Close it when done. */
export class Scores {
  readonly index: ScoresIndex;
  readonly #folder: string;
  readonly #parts = new Map<number, SafetensorsFile>();

  /** @throws InputError where the folder holds no sound scores. */
  constructor(folder: string) {
    this.index = readScoresIndex(folder);
    this.#folder = folder;
  }

  /** Losses of the targets of sequence `position`, in nats. */
  read(position: number, out: Float32Array): void {
    const { sequencesPerPart: perPart, sequenceLength } = this.index;
    const file = this.#part(Math.floor(position / perPart));
    file.readFloats(file.entry(TENSOR), out, (position % perPart) * sequenceLength);
  }

  close(): void {
    for (const file of this.#parts.values()) file.close();
    this.#parts.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #part(part: number): SafetensorsFile {
    const known = this.#parts.get(part);
    if (known !== undefined) return known;
    const file = new SafetensorsFile(partFile(this.#folder, part));
    this.#parts.set(part, file);
    const { sequences, sequencesPerPart: perPart, sequenceLength } = this.index;
    const rows = Math.min(perPart, sequences - part * perPart);
    const { shape } = file.entry(TENSOR);
    if (shape[0] !== rows || shape[1] !== sequenceLength)
      throw new InputError(
        `${file.path}: tensor "${TENSOR}": expected shape [${rows}, ${sequenceLength}], found [${shape.join(', ')}].`,
      );
    return file;
  }
}
