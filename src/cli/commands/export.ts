import { existsSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { InputError } from '../../errors.js';
import {
  exportGguf,
  exportHuggingFace,
  exportLlama2c,
  exportTensorboard,
  type GgmlType,
  ggmlTypes,
  importLlama2c,
  openCheckpoint,
  parseFloatDType,
  requireEndedMasks,
  resolveCheckpoint,
  weightFileFormat,
} from '../../interop/index.js';
import { type CommonOptions, defineCommand, terminalFor, withCommonOptions } from '../command.js';

const formats = ['hf', 'gguf', 'llama2c', 'tensorboard'] as const;

interface ExportOptions extends CommonOptions {
  format: (typeof formats)[number];
  dtype?: string;
  out: string;
}

/** `strata export`: a checkpoint or a run's records in the format of another tool. */
export function create(): Command {
  const command = defineCommand('export', "Write a checkpoint, or a run's records, in the format of another tool.", [
    ['strata export runs/grown --format hf --dtype bf16 --out grown-bf16', 'a Hugging Face folder in bf16'],
    ['strata export ./llama --format gguf --dtype q8_0 --out llama.gguf', 'one file for llama.cpp'],
    ['strata export ./llama --format llama2c --out llama.bin', 'one file for llama2.c'],
    ['strata export stories260K.bin --format hf --out stories', 'a llama2.c file as a Hugging Face folder'],
    ['strata export runs/grown --format tensorboard --out logs/grown', 'curves for tensorboard --logdir logs'],
  ])
    .argument('<source>', 'a Hugging Face folder, a run folder (its last checkpoint), RUN@step or a llama2.c file')
    .addOption(new Option('--format <format>', 'format to write').choices([...formats]).makeOptionMandatory())
    .option(
      '--dtype <type>',
      'type of the weights: f32, f16, bf16, for hf also f8_e4m3 and f8_e5m2, for gguf also q8_0',
    )
    .requiredOption('--out <path>', 'folder (hf, tensorboard) or file (gguf, llama2c) to write');
  return withCommonOptions(command).action((source: string, options: ExportOptions) => {
    const terminal = terminalFor(options);
    if (options.format !== 'tensorboard' && existsSync(options.out))
      throw new InputError(`${options.out}: already exists; remove it or choose another name.`);
    const document = { source, format: options.format, ...exporters[options.format](source, options) };
    terminal.result(document, () => `${document.path}: ${document.summary}`);
  });
}

/** What was written, for people and scripts. */
interface Exported {
  readonly path: string;
  readonly summary: string;
  readonly [detail: string]: unknown;
}

const exporters: Record<(typeof formats)[number], (source: string, options: ExportOptions) => Exported> = {
  hf(source, { out, dtype }) {
    const type = dtype === undefined ? undefined : parseFloatDType(dtype);
    if (isFile(source)) {
      if (weightFileFormat(source) !== 'llama2c')
        throw new InputError(`${source}: expected a folder or a llama2.c file; other single files are not converted.`);
      const config = importLlama2c(source, out, type === undefined ? {} : { dtype: type });
      const summary = `a ${config.model_type} of ${config.num_hidden_layers} layers; its tokenizer is not part of a llama2.c file`;
      return { path: out, summary };
    }
    using checkpoint = openWhole(source);
    const { bytes } = exportHuggingFace(checkpoint, out, type === undefined ? {} : { dtype: type });
    return { path: out, summary: `${megabytes(bytes)} of weights`, bytes };
  },
  gguf(source, { out, dtype = 'f16' }) {
    using checkpoint = openWhole(source);
    const type = parseGgmlType(dtype);
    const name = basename(resolve(source)).replace(/@/g, '-');
    const result = exportGguf(checkpoint, out, { type, name });
    const tokenizer = result.hasTokenizer
      ? ''
      : '; without a tokenizer, as the checkpoint has none that llama.cpp knows';
    return { ...result, summary: `${result.tensors} tensors, ${megabytes(result.bytes)}${tokenizer}` };
  },
  llama2c(source, { out, dtype = 'f32' }) {
    if (parseFloatDType(dtype) !== 'F32')
      throw new InputError(`--dtype: a llama2.c file holds f32, found ${JSON.stringify(dtype)}.`);
    using checkpoint = openWhole(source);
    const bytes = exportLlama2c(checkpoint, out);
    return { path: out, summary: megabytes(bytes), bytes };
  },
  tensorboard(source, { out, dtype }) {
    if (dtype !== undefined) throw new InputError('--dtype says nothing about TensorBoard event files.');
    if (!existsSync(join(source, 'records.jsonl')))
      throw new InputError(`${source}: is no run folder: it has no records.jsonl.`);
    const result = exportTensorboard(source, out);
    return { ...result, summary: `${result.scalars} points` };
  },
};

/** Opens a checkpoint, unless masks still fade in a part of it: its plain weights are then another model. */
function openWhole(source: string) {
  const folder = resolveCheckpoint(source);
  requireEndedMasks(folder);
  return openCheckpoint(folder);
}

function parseGgmlType(dtype: string): GgmlType {
  const type = dtype.toUpperCase();
  if (Object.hasOwn(ggmlTypes, type)) return type as GgmlType;
  throw new InputError(`--dtype: a GGUF file holds f32, f16, bf16 or q8_0, found ${JSON.stringify(dtype)}.`);
}

const isFile = (path: string): boolean => existsSync(path) && statSync(path).isFile();
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
