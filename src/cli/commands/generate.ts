import { type Command, InvalidArgumentError } from 'commander';
import { loadTokenizer } from '../../data/index.js';
import { InputError } from '../../errors.js';
import { type AddBos, encodeText, prefixToken } from '../../eval/index.js';
import {
  endTokens,
  generate as generateTokens,
  loadModel,
  type RoutedBranches,
  TextStream,
} from '../../infer/index.js';
import { resolveCheckpoint } from '../../interop/index.js';
import {
  type CommonOptions,
  defineCommand,
  parseNumber,
  parsePositiveInteger,
  terminalFor,
  withCommonOptions,
} from '../command.js';

interface GenerateOptions extends CommonOptions {
  prompt: string;
  maxTokens: number;
  temperature: number;
  topK?: number;
  topP?: number;
  seed?: number;
  addBos: boolean;
  ignoreEos?: boolean;
  tokenizer?: string;
}

/** `strata generate`: a text continued, token by token. */
export function create(): Command {
  const command = defineCommand('generate', 'Continue a text with a checkpoint, printed as it is made.', [
    ['strata generate runs/grown --prompt "Once upon a time"', 'the most probable continuation'],
    ['strata generate ./llama --prompt "The sea" --temperature 0.8 --top-p 0.95 --seed 1', 'a drawn one, repeatable'],
  ])
    .argument('<ckpt>', 'a Hugging Face folder, a run folder (its last checkpoint) or RUN@step')
    .option('--prompt <text>', 'text to continue (default: none; the model begins)', '')
    .option('--max-tokens <n>', 'tokens to add at most', parsePositiveInteger, 128)
    .option('--temperature <t>', '0 takes the most probable token each time', parseTemperature, 0)
    .option('--top-k <k>', 'draw from the k most probable tokens', parsePositiveInteger)
    .option('--top-p <p>', 'draw from the most probable tokens that together have probability p', parseShare)
    .option('--seed <n>', 'makes draws repeatable', parseSeed)
    .option('--no-add-bos', 'no special tokens before the prompt')
    .option('--ignore-eos', 'go on after the token that ends a text')
    .option('--tokenizer <file>', 'tokenizer.json, or a folder with one (default: that of the checkpoint)');
  return withCommonOptions(command).action(generate);
}

function parseTemperature(text: string): number {
  const value = parseNumber(text);
  if (value < 0 || value > 100) throw new InvalidArgumentError(`expected a number from 0 to 100, found "${text}".`);
  return value;
}

function parseShare(text: string): number {
  const value = parseNumber(text);
  if (value <= 0 || value > 1)
    throw new InvalidArgumentError(`expected a number above 0 and at most 1, found "${text}".`);
  return value;
}

function parseSeed(text: string): number {
  const value = parseNumber(text);
  if (!Number.isSafeInteger(value) || value < 0)
    throw new InvalidArgumentError(`expected a whole number, found "${text}".`);
  return value;
}

async function generate(reference: string, options: GenerateOptions): Promise<void> {
  const terminal = terminalFor(options);
  const tokenizer = loadTokenizer(options.tokenizer ?? resolveCheckpoint(reference));
  using model = loadModel(reference, { threads: options.threads });
  const addBos: AddBos = options.addBos ? 'auto' : false;
  const encoded = encodeText(tokenizer, options.prompt, addBos);
  const prompt = encoded.length > 0 ? encoded : Int32Array.of(prefixToken(tokenizer));
  const longest = model.config.max_position_embeddings;
  if (prompt.length > longest)
    throw new InputError(`The prompt has ${prompt.length} tokens, but the model reads at most ${longest}.`);
  const stream = new TextStream(tokenizer, prompt);
  const live = !terminal.json && options.quiet !== true;
  if (live) process.stdout.write(options.prompt);
  const [ids, logProbs]: [number[], number[]] = [[], []];
  const stopTokens = options.ignoreEos === true ? new Set<number>() : endTokens(model.config, tokenizer);
  let text = '';
  const give = (piece: string): void => {
    text += piece;
    if (live) process.stdout.write(piece);
  };
  const start = performance.now();
  let first = start;
  let branches: RoutedBranches | undefined;
  const onBranches = (found: RoutedBranches): void => void (branches = found);
  for await (const { token, logProb } of generateTokens(model, prompt, { ...options, stopTokens, onBranches })) {
    if (ids.length === 0) first = performance.now();
    ids.push(token);
    logProbs.push(logProb);
    give(stream.push(token));
  }
  give(stream.end());
  const promptSeconds = (first - start) / 1000;
  const tokensPerSecond = ids.length > 1 ? (ids.length - 1) / ((performance.now() - first) / 1000) : null;
  if (live) {
    const speed = tokensPerSecond === null ? '' : `, ${tokensPerSecond.toFixed(1)} tokens/s`;
    process.stdout.write('\n');
    process.stderr.write(`${prompt.length} + ${ids.length} tokens${speed}${describeBranches(branches)}\n`);
    return;
  }
  const document = {
    prompt: options.prompt,
    text,
    ids: [...ids],
    logProbs,
    promptTokens: prompt.length,
    promptSeconds,
    tokensPerSecond,
    ...(branches === undefined ? {} : { branches }),
  };
  terminal.result(document, () => text);
}

/** How many of a routed model's feed-forward branches were left out. */
function describeBranches(branches: RoutedBranches | undefined): string {
  if (branches === undefined) return '';
  const { computed, all } = branches;
  return `, ${(100 * (1 - computed / all)).toFixed(1)} % of the feed-forward branches skipped`;
}
