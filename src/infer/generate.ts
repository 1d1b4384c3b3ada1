import type { ModelConfig } from '../architecture/index.js';
import type { Tokenizer } from '../data/index.js';
import { compiledLogitPasses } from '../engine/logits.js';
import { Decoder } from './decoder.js';
import type { Model } from './model.js';
import type { RoutedBranches } from './packed-forward.js';
import { type SampledToken, Sampler, type SamplingOptions } from './sampling.js';

export interface GenerateOptions extends SamplingOptions {
  /** Tokens to add at most. */
  readonly maxTokens: number;
  /** Tokens that end the text; they are not given out. */
  readonly stopTokens?: ReadonlySet<number>;
  /** Told how many branches were computed after each token, the prompt included; only of a model whose layers are routed. */
  readonly onBranches?: (branches: RoutedBranches) => void;
}

/** Rows of a prompt in one pass: nobody else waits for it. */
const PROMPT_ROWS = 512;

/** Continues one text, token by token. The prompt needs at least one token; the text ends at the model's length at the latest. */
export async function* generate(
  model: Model,
  prompt: Int32Array,
  options: GenerateOptions,
): AsyncGenerator<SampledToken, void, undefined> {
  const { max_position_embeddings: longest } = model.config;
  const capacity = Math.min(prompt.length + options.maxTokens, longest);
  using decoder = new Decoder(model, { cacheRows: capacity, passRows: PROMPT_ROWS });
  const sampler = new Sampler(options, compiledLogitPasses());
  const sequence = decoder.begin(prompt, capacity);
  if (sequence === undefined) throw new RangeError('a cache made for one text has no room for it');
  for (let made = 0; made < options.maxTokens && prompt.length + made <= longest; made++) {
    let sampled: SampledToken | undefined;
    while (sampled === undefined)
      decoder.step((_, logits) => {
        sampled = sampler.next(logits);
      });
    if (decoder.branches !== undefined) options.onBranches?.(decoder.branches);
    if (options.stopTokens?.has(sampled.token) === true) return;
    yield sampled;
    if (sequence.length >= capacity) return;
    decoder.append(sequence, sampled.token);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Tokens that end a text by the model's config and its tokenizer. */
export function endTokens(config: ModelConfig, tokenizer: Pick<Tokenizer, 'eosId'>): Set<number> {
  const configured = config['eos_token_id'];
  const ids = Array.isArray(configured) ? configured : [configured];
  return new Set([...ids, tokenizer.eosId].filter((id): id is number => typeof id === 'number'));
}
