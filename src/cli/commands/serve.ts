import { basename, resolve } from 'node:path';
import type { Command } from 'commander';
import { loadTokenizer } from '../../data/index.js';
import { InputError } from '../../errors.js';
import { loadModel } from '../../infer/index.js';
import { resolveCheckpoint } from '../../interop/index.js';
import { startServer } from '../../serve/index.js';
import { type CommonOptions, defineCommand, parsePositiveInteger, terminalFor, withCommonOptions } from '../command.js';
import { onInterrupt } from '../interrupt.js';

interface ServeCommandOptions extends CommonOptions {
  host: string;
  port: number;
  name?: string;
  token?: string;
  maxLength?: number;
  cacheTokens?: number;
  timeout: number;
  tokenizer?: string;
}

const TOKEN_VARIABLE = 'STRATA_SERVE_TOKEN';

/** `strata serve`: a checkpoint over the OpenAI completions protocol. */
export function create(): Command {
  const command = defineCommand('serve', 'Serve a checkpoint over the OpenAI completions protocol.', [
    ['strata serve runs/grown', 'on http://127.0.0.1:8000, for this machine only'],
    [`${TOKEN_VARIABLE}=secret strata serve ./llama --host 0.0.0.0 --port 9000`, 'for others who know the token'],
  ])
    .argument('<ckpt>', 'a Hugging Face folder, a run folder (its last checkpoint) or RUN@step')
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--port <n>', 'port to listen on; 0 takes a free one', parsePort, 8000)
    .option('--name <name>', "the model's name for clients (default: the checkpoint's)")
    .option('--token <text>', `bearer token that clients must send (better: the variable ${TOKEN_VARIABLE})`)
    .option('--max-length <n>', "tokens that the model reads at most (default: the model's)", parsePositiveInteger)
    .option(
      '--cache-tokens <n>',
      'tokens of all texts continued together (default: what 1 GiB holds)',
      parsePositiveInteger,
    )
    .option('--timeout <seconds>', 'give up a request after this time', parsePositiveInteger, 600)
    .option('--tokenizer <file>', 'tokenizer.json, or a folder with one (default: that of the checkpoint)');
  return withCommonOptions(command).action(serve);
}

function parsePort(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value > 65535)
    throw new InputError(`--port: expected a number from 0 to 65535, found "${text}".`);
  return value;
}

async function serve(reference: string, options: ServeCommandOptions): Promise<void> {
  const terminal = terminalFor(options);
  const tokenizer = loadTokenizer(options.tokenizer ?? resolveCheckpoint(reference));
  using model = loadModel(reference, { threads: options.threads });
  const interrupt = onInterrupt('Stopping');
  const name = options.name ?? basename(resolve(reference));
  const token = options.token ?? process.env[TOKEN_VARIABLE];
  const server = await startServer({
    ...options,
    model,
    tokenizer,
    name,
    token: token === '' ? undefined : token,
    timeoutSeconds: options.timeout,
    onFailure: (error) =>
      terminal.warn(`serve: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`),
  });
  try {
    terminal.result(
      { url: server.url, model: name },
      () => `Serving ${name} on ${server.url}/v1/completions (Ctrl-C stops)`,
    );
    await new Promise<void>((done) => {
      interrupt.signal.addEventListener('abort', () => done(), { once: true });
    });
  } finally {
    await server.stop();
    interrupt.dispose();
  }
}
