import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Template } from '@huggingface/jinja';
import { z } from 'zod';
import { InputError } from '../../errors.js';

/** One turn of a conversation. */
export interface Message {
  readonly role: string;
  readonly content: string;
}

/** How a conversation is written as text: a Jinja template, as Hugging Face's tokenizers carry one. */
export interface ChatTemplate {
  /** The template itself, which travels with what is trained on it. */
  readonly source: string;
  /** Where it came from, for people. */
  readonly from: string;
  /** @param addGenerationPrompt Ends with what stands before an answer. */
  render(messages: readonly Message[], addGenerationPrompt: boolean): string;
}

/** For tokenizers without a template of their own: roles written out, since a base model's vocabulary has no tokens for turns. */
const PLAIN_TEMPLATE =
  "{% for message in messages %}{{ message.role | capitalize }}: {{ message.content | trim }}{% if message.role == 'assistant' %}{{ eos_token }}{% else %}{{ '\\n\\n' }}{% endif %}{% endfor %}" +
  '{% if add_generation_prompt %}Assistant: {% endif %}';

const token = z.union([z.string(), z.object({ content: z.string() }).transform(({ content }) => content)]);
const configSchema = z.looseObject({
  chat_template: z.union([z.string(), z.array(z.object({ name: z.string(), template: z.string() }))]).optional(),
  bos_token: token.nullish(),
  eos_token: token.nullish(),
});

/**
 * Finds the chat template of a tokenizer: a file that is named, `chat_template.jinja` beside tokenizer.json, or the one in
 * tokenizer_config.json; else a plain one that writes out the roles.
 *
 * @param tokenizer Path of tokenizer.json, or its folder.
 * @param eosToken Text of the token that ends a document.
 * @throws InputError where a file is no template.
 */
export async function loadChatTemplate(tokenizer: string, eosToken: string, file?: string): Promise<ChatTemplate> {
  // Loaded here, as nothing else of the library needs it.
  const library = await import('@huggingface/jinja');
  const folder = statSync(tokenizer).isDirectory() ? tokenizer : dirname(tokenizer);
  const config = readConfig(join(folder, 'tokenizer_config.json'));
  const { source, from } = findSource(folder, config, file);
  let template: Template;
  try {
    template = new library.Template(source);
  } catch (error) {
    throw new InputError(`${from}: expected a chat template, found ${(error as Error).message}.`, { cause: error });
  }
  const tokens = { bos_token: config.bos_token ?? '', eos_token: config.eos_token ?? eosToken };
  return {
    source,
    from,
    render: (messages, addGenerationPrompt) =>
      template.render({ messages, add_generation_prompt: addGenerationPrompt, ...tokens }),
  };
}

function findSource(
  folder: string,
  { chat_template: stored }: z.output<typeof configSchema>,
  file: string | undefined,
): { source: string; from: string } {
  const beside = join(folder, 'chat_template.jinja');
  if (file !== undefined && !existsSync(file))
    throw new InputError(`${file}: expected a chat template, found no file.`);
  const path = file ?? (existsSync(beside) ? beside : undefined);
  if (path !== undefined) return { source: readFileSync(path, 'utf8'), from: path };
  const named = Array.isArray(stored) ? stored.find(({ name }) => name === 'default')?.template : stored;
  return named === undefined
    ? { source: PLAIN_TEMPLATE, from: 'a plain template, since the tokenizer has none' }
    : { source: named, from: join(folder, 'tokenizer_config.json') };
}

function readConfig(path: string): z.output<typeof configSchema> {
  if (!existsSync(path)) return {};
  try {
    return configSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (error) {
    throw new InputError(`${path}: expected a tokenizer's config, found ${(error as Error).message.split('\n')[0]}.`);
  }
}
