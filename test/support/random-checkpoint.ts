import { type ModelConfig, RandomStream, weightSize } from '../../src/architecture/index.js';
import { type SaveOptions, saveModel } from '../../src/interop/index.js';

/** Writes a checkpoint whose every number is drawn, norm gains and biases included, so that no two weights look alike. */
export function writeRandomCheckpoint(folder: string, config: ModelConfig, seed = 1, options: SaveOptions = {}): void {
  saveModel(
    folder,
    config,
    (spec) => {
      const values = new Float32Array(weightSize(spec));
      new RandomStream(seed, spec.name).fillNormal(
        values,
        0.3,
        spec.axes.length === 1 && spec.kind === 'weight' ? 1 : 0,
      );
      return values;
    },
    options,
  );
}
