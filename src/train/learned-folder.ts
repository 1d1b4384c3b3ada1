import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { SafetensorsFile, writeSafetensors } from '../interop/index.js';

/** A part of what a growth learns, as far as it has come. */
export interface LearnedPart {
  readonly tensors: ReadonlyMap<string, Float32Array>;
  /** Counts, losses: whatever the phase needs to go on. */
  readonly state: unknown;
}

/** Keeps what a growth has learned so far, so that an interrupted phase goes on with the same bits. */
export class LearnedFolder {
  readonly path: string;
  readonly #key: string;

  /** @param key What the phase depends on: parts that were kept under another are not taken. */
  constructor(path: string, key: string) {
    this.path = path;
    this.#key = key;
  }

  /** A part that was kept; undefined where there is none, or where it belongs to another phase. */
  load(part: string): LearnedPart | undefined {
    const path = this.#file(part);
    if (!existsSync(path)) return undefined;
    using file = new SafetensorsFile(path);
    const { key, state } = file.header.metadata;
    if (key !== this.#key || state === undefined) return undefined;
    const tensors = new Map<string, Float32Array>();
    for (const entry of file.header.tensors.values()) {
      const values = new Float32Array(entry.bytes / Float32Array.BYTES_PER_ELEMENT);
      file.readFloats(entry, values);
      tensors.set(entry.name, values);
    }
    return { tensors, state: JSON.parse(state) as unknown };
  }

  /** Keeps a part, in place of what was kept of it before. */
  save(part: string, tensors: Readonly<Record<string, Float32Array>>, state: unknown): void {
    const plans = Object.entries(tensors).map(([name, values]) => ({
      ...{ name, values, shape: [values.length] },
      dtype: 'F32' as const,
    }));
    writeSafetensors(this.#file(part), plans, { key: this.#key, state: JSON.stringify(state) });
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }

  #file(part: string): string {
    return join(this.path, `${part}.safetensors`);
  }
}

/** How a phase is watched, stopped and taken up again. */
export interface Learning {
  /** Where it keeps what it has learned; without one it starts anew. */
  readonly kept?: LearnedFolder;
  /** Aborting it keeps what was learned and throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number, loss: number) => void) | undefined;
}
