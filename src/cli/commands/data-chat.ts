import type { Command } from 'commander';
import { Option } from 'commander';
import { buildChat } from '../../data/index.js';
import { type CommonOptions, defineCommand, terminalFor, withCommonOptions } from '../command.js';
import { formatTable } from '../terminal.js';
import { bytes, number } from './data-format.js';

interface ChatCommandOptions extends CommonOptions {
  tokenizer: string;
  out: string;
  val?: string[];
  template?: string;
  badRecords: 'fail' | 'skip';
}

/** `strata data chat`. */
export function createChat(): Command {
  const command = defineCommand('chat', 'turn conversations into shards whose answers alone are trained on', [
    [
      'strata data chat train.jsonl --val valid.jsonl --tokenizer runs/grown/checkpoints/500 --out chat',
      'for a checkpoint',
    ],
    [
      'strata data chat train.jsonl --tokenizer llama3/ --template chat.jinja --out chat',
      'with a template of your own',
    ],
  ])
    .argument(
      '<input...>',
      'JSONL files, folders or globs: {"messages": [{"role", "content"}, ...]} a line; also .gz or .zst',
    )
    .requiredOption('--tokenizer <file>', 'tokenizer.json, or a folder with it and its chat template')
    .requiredOption('--out <dir>', 'new folder for train/ and validation/')
    .option('--val <input...>', 'conversations held out for validation')
    .option('--template <file>', "a Jinja chat template in place of the tokenizer's")
    .addOption(
      new Option('--bad-records <policy>', 'what a line that is no conversation does')
        .choices(['fail', 'skip'])
        .default('fail'),
    );
  return withCommonOptions(command).action(chat);
}

async function chat(inputs: string[], options: ChatCommandOptions): Promise<void> {
  const terminal = terminalFor(options);
  const progress = terminal.progress('conversations');
  const result = await buildChat({
    inputs,
    tokenizer: options.tokenizer,
    out: options.out,
    badRecords: options.badRecords,
    ...(options.val === undefined ? {} : { validation: options.val }),
    ...(options.template === undefined ? {} : { template: options.template }),
    onProgress: (done, total) => progress.update(done, total, bytes(done)),
  });
  progress.finish();
  terminal.result({ out: options.out, ...result }, () =>
    [
      formatTable([
        ['', 'conversations', 'tokens', 'of answers'],
        ...Object.values(result.splits).map(({ folder, conversations, tokens, answerTokens }) => [
          folder,
          number(conversations),
          number(tokens),
          `${number(answerTokens)} (${((100 * answerTokens) / tokens).toFixed(0)} %)`,
        ]),
      ]),
      `Chat template: ${result.template}.`,
      ...(result.badRecords > 0 ? [`${number(result.badRecords)} lines were skipped.`] : []),
    ].join('\n'),
  );
}
