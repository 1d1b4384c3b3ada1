import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { parseBySchema } from '../../architecture/index.js';
import { InputError } from '../../errors.js';
import { writeFileAtomic } from '../../files/atomic.js';
import { readJsonObject } from '../json.js';
import type { WrittenFile } from '../safetensors/index.js';

export const MANIFEST_FILE = 'manifest.json';

const schema = z.looseObject({
  format: z.literal(1),
  /** Optimizer steps, tokens and FLOPs of the whole run so far, what was paid for parents included. */
  step: z.int().min(0).optional(),
  tokens: z.number().min(0).optional(),
  flops: z.number().min(0).optional(),
  /** `flops` as a decimal number: it can pass 2^53. */
  flopsExact: z.string().regex(/^\d+$/).optional(),
  flops6nd: z.number().min(0).optional(),
  /** What each stage cost, growths among them. */
  stages: z
    .array(
      z.looseObject({
        stage: z.string(),
        tokens: z.number().min(0),
        flopsExact: z.string().regex(/^\d+$/),
        operator: z.string().optional(),
        planHash: z.string().optional(),
      }),
    )
    .optional(),
  files: z.record(z.string(), z.object({ bytes: z.int().min(0), sha256: z.string().regex(/^[0-9a-f]{64}$/) })),
});

/** What a checkpoint says of itself: what was paid for it, and the size and SHA-256 of each of its files. */
export type Manifest = z.output<typeof schema>;

/**
 * The manifest of a checkpoint folder, or undefined where it has none (a folder that Strata did not write).
 *
 * @throws InputError where it is damaged.
 */
export function readManifest(folder: string): Manifest | undefined {
  const path = join(folder, MANIFEST_FILE);
  return existsSync(path) ? parseBySchema(schema, readJsonObject(path), path) : undefined;
}

/**
 * Writes the manifest of a finished folder: last of all, since it is what makes the folder a checkpoint.
 *
 * @param fields What it says beside the files.
 * @param known Sizes and hashes of files that were hashed while they were written; all others are read.
 */
export function writeManifest(
  folder: string,
  fields: Readonly<Record<string, unknown>>,
  known: Readonly<Record<string, WrittenFile>> = {},
): Manifest {
  const files: Record<string, WrittenFile> = {};
  for (const name of listFiles(folder))
    if (name !== MANIFEST_FILE) files[name] = known[name] ?? hashFile(join(folder, name));
  const manifest = { format: 1 as const, ...fields, files };
  writeFileAtomic(join(folder, MANIFEST_FILE), `${JSON.stringify(manifest, null, 1)}\n`);
  return manifest;
}

/**
 * Checks a folder against its manifest.
 *
 * @returns One sentence on the first file that is missing or differs, or undefined where all is well.
 */
export function verifyManifest(folder: string, manifest: Manifest): string | undefined {
  for (const [name, { bytes, sha256 }] of Object.entries(manifest.files)) {
    if (name.split('/').includes('..') || name.startsWith('/'))
      throw new InputError(`${join(folder, MANIFEST_FILE)}: file "${name}" lies outside the folder.`);
    const path = join(folder, name);
    if (!existsSync(path)) return `${path}: the file is missing.`;
    const { size } = statSync(path);
    if (size !== bytes) return `${path}: expected ${bytes} bytes, found ${size}.`;
    if (hashFile(path).sha256 !== sha256)
      return `${path}: its SHA-256 is not the one in the manifest; the file is damaged.`;
  }
  return undefined;
}

const HASH_CHUNK_BYTES = 4 << 20;

/** Size and SHA-256 of a file, read by pieces. */
export function hashFile(path: string): WrittenFile {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(HASH_CHUNK_BYTES);
  const descriptor = openSync(path, 'r');
  try {
    let bytes = 0;
    for (;;) {
      const count = readSync(descriptor, buffer, 0, buffer.length, null);
      if (count === 0) return { bytes, sha256: hash.digest('hex') };
      hash.update(buffer.subarray(0, count));
      bytes += count;
    }
  } finally {
    closeSync(descriptor);
  }
}

/** Regular files of a folder, those in folders below it by their relative path. */
function listFiles(folder: string, prefix = ''): string[] {
  return readdirSync(join(folder, prefix), { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const name = prefix === '' ? entry.name : `${prefix}/${entry.name}`;
      if (entry.isDirectory()) return listFiles(folder, name);
      return entry.isFile() && !entry.name.endsWith('.partial') ? [name] : [];
    });
}
