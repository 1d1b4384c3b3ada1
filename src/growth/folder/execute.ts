import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { familyOf, type Floats } from '../../architecture/index.js';
import { InputError, WorkError } from '../../errors.js';
import { publishFolder } from '../../files/atomic.js';
import { lockBeside } from '../../files/lock.js';
import {
  assembleStored,
  type Checkpoint,
  copyExtraFiles,
  encodeFloats,
  type FloatDType,
  isFloatDType,
  isStraight,
  type Manifest,
  planShards,
  readManifest,
  type Shard,
  type StoredGroup,
  storedBytes,
  storedDtypeBytes,
  storedGroups,
  tensorPlans,
  torchDtypeName,
  writeConfig,
  writeIndex,
  writeManifest,
  type WrittenFile,
} from '../../interop/index.js';
import { encodeHeader } from '../../interop/safetensors/header.js';
import { CHUNK_ELEMENTS, compile, reusableScratch, type TensorSource, wholeTensor } from '../evaluate.js';
import { canonicalJson, sha256 } from '../../records/index.js';
import { sourcesOf } from '../expression.js';
import type { Plan } from '../plan.js';
import { writeGrowthRecords } from './describe.js';
import { type Journal, readJournal, removeJournal, sourceFingerprint, writeJournal } from './journal.js';
import { HashingSink } from './sink.js';
import { verifyGrown } from './verify.js';

/** How a plan is executed on a checkpoint folder. */
export interface FolderOptions {
  /** Type of the target's weights; by default each is stored as its source is. */
  readonly dtype?: FloatDType;
  readonly maxShardBytes?: number;
  /** How many bytes may be lost by an interruption. */
  readonly journalBytes?: number;
  /** Reads the result again and compares it with the plan and with the hashes. */
  readonly verify?: boolean;
  /** What a `prepare` phase has learned. */
  readonly learned?: (name: string) => Floats;
  /** More fields of the manifest, such as what a `prepare` phase has cost. */
  readonly manifest?: Readonly<Record<string, unknown>>;
  /** Aborting it stops at the next tensor; the same call goes on from there. */
  readonly signal?: AbortSignal;
  /** Called as bytes of the target are written. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** What an execution gave. */
export interface FolderResult {
  readonly folder: string;
  readonly manifest: Manifest;
  /** Bytes of the weight files. */
  readonly bytes: number;
  /** Bytes that an earlier, interrupted execution had already written. */
  readonly resumedBytes: number;
}

/** How often, by default, what was written becomes durable and is noted in the journal. */
const JOURNAL_BYTES = 256 << 20;

/**
 * Executes a plan on a checkpoint folder, one tensor at a time, and writes the grown model as a new folder.
 *
 * Memory stays within `plan.peakBytes`, whatever the size of the model. The folder appears under its name when it is whole;
 * until then it is `OUT.partial`, from which the same call goes on after an interruption.
 *
 * @throws InputError where `out` exists and is something else, WorkError where writing fails or another process writes the same folder, the
 * signal's reason where it was aborted.
 */
export async function executeOnFolder(
  plan: Plan,
  checkpoint: Checkpoint,
  out: string,
  options: FolderOptions = {},
): Promise<FolderResult> {
  // What a phase learned from, and at what cost, stands in its manifest: other data make another model of the same plan.
  const prepared = options.manifest === undefined ? '' : sha256(canonicalJson(options.manifest));
  const key = [plan.planHash, sourceFingerprint(checkpoint), options.dtype, options.maxShardBytes, prepared].join(' ');
  const target = out.replace(/\/+$/, '');
  const lock = lockBeside(target);
  try {
    return alreadyDone(target, key) ?? (await execute(plan, checkpoint, target, key, options));
  } finally {
    lock.release();
  }
}

async function execute(
  plan: Plan,
  checkpoint: Checkpoint,
  out: string,
  key: string,
  options: FolderOptions,
): Promise<FolderResult> {
  const work = new Execution(plan, checkpoint, `${out}.partial`, key, options);
  try {
    const files = await work.run();
    const manifest = writeManifest(
      work.folder,
      { ...writeGrowthRecords(work.folder, plan, checkpoint, options.manifest), executionKey: key },
      files,
    );
    if (options.verify) verifyGrown(plan, work.source, work.folder, manifest);
    publishFolder(work.folder, out);
    const bytes = Object.values(files).reduce((sum, file) => sum + file.bytes, 0);
    return { folder: out, manifest, bytes, resumedBytes: work.resumedBytes };
  } catch (error) {
    if (error instanceof InputError || error instanceof WorkError) throw error;
    const code = (error as NodeJS.ErrnoException).code;
    if (code === undefined) throw error;
    const reason = code === 'ENOSPC' ? 'no space is left on the device' : code;
    throw new WorkError(`${out}: cannot be written: ${reason}; the same command goes on from ${work.folder}.`, {
      cause: error,
    });
  }
}

function alreadyDone(out: string, key: string): FolderResult | undefined {
  if (!existsSync(out)) return undefined;
  const manifest = existsSync(join(out, 'manifest.json')) ? readManifest(out) : undefined;
  if (manifest?.['executionKey'] !== key)
    throw new InputError(
      `${out}: already exists and is not the result of this plan; choose another folder or remove it.`,
    );
  const bytes = Object.entries(manifest.files).reduce(
    (sum, [name, file]) => sum + (name.endsWith('.safetensors') ? file.bytes : 0),
    0,
  );
  return { folder: out, manifest, bytes, resumedBytes: bytes };
}

class Execution {
  readonly folder: string;
  readonly source: TensorSource;
  resumedBytes = 0;
  readonly #plan: Plan;
  readonly #checkpoint: Checkpoint;
  readonly #groups: ReadonlyMap<string, StoredGroup>;
  readonly #shards: readonly Shard[];
  readonly #key: string;
  readonly #options: FolderOptions;
  readonly #totalBytes: number;
  readonly #values = reusableScratch();
  readonly #encoded = new Uint8Array(CHUNK_ELEMENTS * 8);
  #journal: Journal;
  #doneBytes = 0;

  constructor(plan: Plan, checkpoint: Checkpoint, folder: string, key: string, options: FolderOptions) {
    this.#plan = plan;
    this.#checkpoint = checkpoint;
    this.folder = folder;
    this.#key = key;
    this.#options = options;
    const { learned } = options;
    this.source = {
      shape: (name) => checkpoint.shape(name),
      readRows: (name, start, out) => checkpoint.readRows(name, start, out),
      ...(learned === undefined ? {} : { learned }),
    };
    const groups = storedGroups(familyOf(plan.target).weights(plan.target));
    this.#groups = new Map(groups.map((group) => [group.name, group]));
    const tensors = tensorPlans(groups, (group) => this.#dtypeOf(group));
    this.#shards = planShards(tensors, options.maxShardBytes);
    this.#totalBytes = tensors.reduce((sum, { shape, dtype }) => sum + storedBytes(shape, dtype), 0);
    this.#journal = readJournal(folder, key) ?? { key, finished: {} };
  }

  async run(): Promise<Record<string, WrittenFile>> {
    if (Object.keys(this.#journal.finished).length === 0 && this.#journal.current === undefined)
      rmSync(this.folder, { recursive: true, force: true });
    mkdirSync(this.folder, { recursive: true });
    writeJournal(this.folder, this.#journal);
    const files: Record<string, WrittenFile> = {};
    for (const shard of this.#shards) {
      const finished = this.#journal.finished[shard.file];
      if (finished !== undefined) {
        this.#progress(finished.bytes);
        this.resumedBytes += finished.bytes;
      }
      files[shard.file] = finished ?? (await this.#writeShard(shard));
      this.#journal = { key: this.#key, finished: { ...files } };
      writeJournal(this.folder, this.#journal);
    }
    writeIndex(this.folder, this.#shards);
    const dtype = this.#shards[0]!.tensors[0]!.dtype;
    const config = familyOf(this.#plan.target).toHuggingFace(this.#plan.target);
    writeConfig(this.folder, isFloatDType(dtype) ? { ...config, torch_dtype: torchDtypeName[dtype] } : config);
    copyExtraFiles(this.#checkpoint.folder, this.folder);
    removeJournal(this.folder);
    return files;
  }

  #dtypeOf(group: StoredGroup): FloatDType {
    if (this.#options.dtype !== undefined) return this.#options.dtype;
    const [source] = sourcesOf(this.#plan.tensors[group.parts[0]!.name]!);
    const dtype = this.#checkpoint.dtype(source ?? this.#checkpoint.weights[0]!.name);
    if (!isFloatDType(dtype))
      throw new InputError(
        `${this.#checkpoint.folder}: tensor "${source}" has dtype ${dtype}; only float weights can grow.`,
      );
    return dtype;
  }

  async #writeShard({ file, tensors }: Shard): Promise<WrittenFile> {
    const { header } = encodeHeader(tensors, { format: 'pt' });
    const { current } = this.#journal;
    const resumed = current?.file === file ? current : undefined;
    const sink = await HashingSink.open(join(this.folder, file), resumed?.bytes);
    try {
      if (resumed === undefined) await sink.write(header);
      else {
        this.resumedBytes += resumed.bytes;
        this.#progress(resumed.bytes);
      }
      let durable = sink.bytes;
      for (const [done, { name, dtype }] of tensors.entries()) {
        if (done < (resumed?.tensors ?? 0)) continue;
        this.#options.signal?.throwIfAborted();
        await this.#writeTensor(sink, this.#groups.get(name)!, dtype as FloatDType);
        const isDue = sink.bytes - durable >= (this.#options.journalBytes ?? JOURNAL_BYTES);
        if (done === tensors.length - 1 || !(isDue || this.#options.signal?.aborted)) continue;
        durable = sink.bytes;
        const { finished } = this.#journal;
        await sink.checkpoint((bytes) =>
          writeJournal(this.folder, { key: this.#key, finished, current: { file, tensors: done + 1, bytes } }),
        );
      }
      return await sink.finish();
    } catch (error) {
      await sink.abandon();
      throw error;
    }
  }

  async #writeTensor(sink: HashingSink, group: StoredGroup, dtype: FloatDType): Promise<void> {
    const copied = this.#copiedFrom(group, dtype);
    if (copied !== undefined) return this.#copyBytes(sink, copied);
    if (!isStraight(group)) {
      const whole = assembleStored(group, ({ name, axes }) => {
        const values = new Float32Array(axes.reduce((product, axis) => product * axis.size, 1));
        return wholeTensor(compile(this.#plan.tensors[name]!, this.source, values), values);
      });
      return this.#writeFloats(sink, dtype, whole);
    }
    const like = dtype === 'F64' ? new Float64Array(0) : new Float32Array(0);
    const tensor = compile(this.#plan.tensors[group.parts[0]!.name]!, this.source, like);
    const step = Math.max(1, Math.floor(CHUNK_ELEMENTS / tensor.columns));
    for (let start = 0; start < tensor.rows; start += step) {
      const length = Math.min(step, tensor.rows - start) * tensor.columns;
      const part = this.#values(like, length);
      tensor.fill(part, start);
      await this.#writeFloats(sink, dtype, part);
    }
    this.#checkpoint.release();
  }

  async #writeFloats(sink: HashingSink, dtype: FloatDType, values: Floats): Promise<void> {
    const size = storedDtypeBytes[dtype];
    for (let start = 0; start < values.length; start += CHUNK_ELEMENTS) {
      const part = values.subarray(start, start + CHUNK_ELEMENTS);
      const bytes = this.#encoded.subarray(0, part.length * size);
      encodeFloats(dtype, part, bytes);
      await sink.write(bytes);
      this.#progress(bytes.length);
    }
  }

  /** The stored tensor whose bytes are exactly those of the target, where there is one. */
  #copiedFrom(group: StoredGroup, dtype: FloatDType): ReturnType<Checkpoint['stored']> | undefined {
    const names = group.parts.map((spec) => this.#plan.tensors[spec.name]!);
    if (!names.every((expression) => expression.op === 'copy')) return undefined;
    const specs = names.map((expression) => this.#checkpoint.spec(expression.op === 'copy' ? expression.of : ''));
    const layouts = group.parts.map((spec) => JSON.stringify({ ...spec.stored, name: '' }));
    const sameLayout = specs.every(
      (spec, i) =>
        spec.stored.name === specs[0]!.stored.name && JSON.stringify({ ...spec.stored, name: '' }) === layouts[i],
    );
    if (!sameLayout) return undefined;
    const stored = this.#checkpoint.stored(specs[0]!.name);
    return stored.entry.dtype === dtype ? stored : undefined;
  }

  async #copyBytes(sink: HashingSink, { file, entry }: ReturnType<Checkpoint['stored']>): Promise<void> {
    for (let done = 0; done < entry.bytes; ) {
      const room = await sink.room(entry.bytes - done);
      file.readInto(room, entry.offset + done, entry.name);
      sink.advance(room.length);
      done += room.length;
      this.#progress(room.length);
    }
  }

  #progress(bytes: number): void {
    this.#doneBytes += bytes;
    this.#options.onProgress?.(Math.min(this.#doneBytes, this.#totalBytes), this.#totalBytes);
  }
}
