import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { countParameters, type Family, familyOf, type ModelConfig } from '../architecture/index.js';
import { InputError } from '../errors.js';
import { readContent } from './content.js';
import { readModelConfig } from './huggingface/checkpoint.js';
import { type Manifest, readManifest } from './huggingface/manifest.js';
import { storedGroups } from './huggingface/stored.js';
import { contentOf, openWeightFiles, type StoredTensor, withStoredPrefix } from './huggingface/weights.js';
import { inspectFile } from './inspect-file.js';
import { countTypes, equalLayers, type Inspection, type InspectionChecks, type InspectOptions } from './inspection.js';
import { readJsonObject } from './json.js';

/**
 * Looks into a Hugging Face folder or a single file: safetensors, GGUF or llama2.c.
 *
 * @throws InputError where files cannot be read at all; what is merely wrong with the model stands in `checks`.
 */
export function inspectPath(path: string, options: InspectOptions = {}): Inspection {
  if (!existsSync(path)) throw new InputError(`${path}: there is no such file or folder.`);
  return statSync(path).isDirectory() ? inspectFolder(path, options) : inspectFile(path, options);
}

function inspectFolder(folder: string, options: InspectOptions): Inspection {
  const config = readModelConfig(folder);
  const family = familyOf(config);
  using weights = withStoredPrefix(openWeightFiles(folder), family.storedPrefix);
  const tensors = [...weights.tensors].map(([name, { file, entry }]) => contentOf(name, file, entry));
  const content = options.readWeights === false ? undefined : readContent(tensors, options.onProgress);
  const checks: InspectionChecks = {
    ...compareWithConfig(family, config, weights.tensors),
    ...(content === undefined
      ? {}
      : { nonFinite: content.nonFinite, equalLayers: equalLayers(family, config, content.hashes) }),
  };
  const { files: _, ...manifest } = readManifest(folder) ?? { files: {} };
  const growthFile = join(folder, 'strata.json');
  const wrong = checks.missing.length + checks.misshapen.length + (checks.nonFinite?.length ?? 0);
  return {
    path: folder,
    modelType: config.model_type,
    architecture: family.architecture,
    config,
    parameters: countParameters(config),
    dtypes: countTypes(tensors),
    files: weights.files.map(({ path, header }) => ({
      file: basename(path),
      tensors: header.tensors.size,
      bytes: statSync(path).size,
      metadata: header.metadata,
    })),
    otherFiles: readdirSync(folder).filter((name) =>
      /tokenizer|vocab|merges|chat_template|generation_config|special_tokens/.test(name),
    ),
    ...('format' in manifest ? { manifest: manifest as Omit<Manifest, 'files'> } : {}),
    ...(existsSync(growthFile) ? { growth: readJsonObject(growthFile)['growth'] } : {}),
    checks,
    sound: wrong === 0,
  };
}

function compareWithConfig(
  family: Family,
  config: ModelConfig,
  tensors: ReadonlyMap<string, StoredTensor>,
): Pick<InspectionChecks, 'missing' | 'extra' | 'misshapen'> {
  const groups = storedGroups(family.weights(config));
  const expected = new Set(groups.map(({ name }) => name));
  return {
    missing: groups.filter(({ name }) => !tensors.has(name)).map(({ name }) => name),
    extra: [...tensors.keys()].filter((name) => !expected.has(name)),
    misshapen: groups.flatMap(({ name, shape }) => {
      const found = tensors.get(name)?.entry.shape;
      return found === undefined || String(found) === String(shape) ? [] : [{ name, expected: shape, found }];
    }),
  };
}
