import { writeAtomically } from '../atomic-file.js';
import { interleavePairs } from '../gguf/tensors.js';
import type { Checkpoint } from '../huggingface/checkpoint.js';
import { headerOf, requireLlama2c, sectionsOf } from './layout.js';

const bytesOf = (values: Float32Array | Int32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/**
 * Writes a Llama as a llama2.c file (version 0, float32), one tensor at a time.
 *
 * @returns Bytes of the file.
 * @throws InputError where run.c would compute something else than the model does.
 */
export function exportLlama2c(checkpoint: Checkpoint, path: string): number {
  const { config } = checkpoint;
  requireLlama2c(config);
  return writeAtomically(path, (file) => {
    file.write(bytesOf(headerOf(config)));
    for (const section of sectionsOf(config)) {
      if (section.kind === 'unused') {
        file.write(new Uint8Array(4 * section.elements));
        continue;
      }
      for (const spec of section.specs) {
        const values = checkpoint.read(spec.name);
        file.write(bytesOf(section.isPaired ? interleavePairs(values, config.head_dim, config.hidden_size) : values));
        checkpoint.release();
      }
    }
  });
}
