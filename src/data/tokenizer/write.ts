import type { TrainedBpe } from './train.js';

/** A trained BPE in the format of Hugging Face's `tokenizer.json`: byte-level as GPT-2's, without prefix space. */
export function tokenizerJson(trained: TrainedBpe): string {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return JSON.stringify(
    {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: trained.specialTokens.map((content) => ({
        id: trained.vocab.indexOf(content),
        content,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      })),
      normalizer: null,
      pre_tokenizer: byteLevel,
      post_processor: { ...byteLevel, trim_offsets: false },
      decoder: byteLevel,
      model: {
        type: 'BPE',
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: false,
        vocab: Object.fromEntries(trained.vocab.map((token, id) => [token, id])),
        merges: trained.merges,
      },
    },
    null,
    1,
  );
}
