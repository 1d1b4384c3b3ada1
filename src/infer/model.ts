import type { Family, ModelConfig } from '../architecture/index.js';
import { loadLibtorch } from '../engine/libtorch/load.js';
import { Memory, type Tensor } from '../engine/buffers.js';
import { type Checkpoint, openCheckpoint, requireEndedMasks } from '../interop/index.js';
import { type ArenaLayout, forwardOf, layOut } from '../model/index.js';
import { tensorBytes, type TensorType } from '../ops/index.js';

/** A model with its weights in memory, ready to be run. */
export interface Model {
  readonly config: ModelConfig;
  readonly family: Family;
  /** Where each weight lies in `parameters`. */
  readonly layout: ArenaLayout;
  readonly parameters: Tensor;
}

/** A model that owns its memory. */
export interface LoadedModel extends Model, Disposable {
  /** Where it was loaded from. */
  readonly folder: string;
}

/**
 * Loads a checkpoint's weights into one arena, one tensor at a time.
 *
 * @param reference A Hugging Face folder, a run folder (its last checkpoint) or `RUN@step`.
 * @throws InputError where there is no such checkpoint or its family cannot be run.
 */
export function loadModel(reference: string, options: { threads?: number | undefined } = {}): LoadedModel {
  using checkpoint = openCheckpoint(reference);
  forwardOf(checkpoint.config);
  requireEndedMasks(checkpoint.folder);
  loadLibtorch(options.threads === undefined ? {} : { threads: options.threads });
  return readModel(checkpoint);
}

function readModel(checkpoint: Checkpoint): LoadedModel {
  const { config, family, weights } = checkpoint;
  const layout = layOut(weights, () => false);
  const type: TensorType = { dtype: 'f32', shape: [layout.size] };
  const memory = new Memory(tensorBytes(type));
  try {
    for (const [name, { offset, size }] of layout.ranges) {
      checkpoint.readRows(name, 0, memory.asFloat32(offset * Float32Array.BYTES_PER_ELEMENT, size));
      checkpoint.release();
    }
  } catch (error) {
    memory.free();
    throw error;
  }
  const parameters = memory.tensor(type);
  return { folder: checkpoint.folder, config, family, layout, parameters, [Symbol.dispose]: () => memory.free() };
}
