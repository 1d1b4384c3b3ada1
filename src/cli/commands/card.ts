import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { InputError, WorkError } from '../../errors.js';
import { describeReplay, parseSegment, type Replay, replaySegment } from '../../experiments/replay/index.js';
import { writeFileAtomic } from '../../files/atomic.js';
import { Interruption } from '../../train/index.js';
import {
  LIMITS,
  makeKeyPair,
  makeStatement,
  modelCard,
  readStatement,
  signStatement,
  verifyStatement,
  type Check,
} from '../../report/index.js';
import { defineCommand, terminalFor, withCommonOptions, type CommonOptions } from '../command.js';
import { onInterrupt } from '../interrupt.js';
import type { Terminal } from '../terminal.js';

/** `strata card`: model card and compute statement. */
export function create(): Command {
  const command = defineCommand('card', 'Write a model card and a statement of training compute, or check one.', [
    ['strata card runs/grown', 'writes runs/grown/card/README.md and statement.json'],
    ['strata card runs/grown --sign key.pem', 'and signs the statement'],
    ['strata card verify runs/grown', 'checks records, FLOPs, manifests and signature'],
    ['strata card verify runs/grown --replay 500..1000', 'and trains steps 501 to 1000 again: the same bits?'],
    ['strata card key --out key.pem', 'makes an Ed25519 key'],
  ])
    .argument('<run>', 'run folder')
    .option('--out <dir>', 'folder for both files (default: RUN/card)')
    .option('--sign <file>', 'Ed25519 private key in PEM');
  command.enablePositionalOptions().addCommand(withCommonOptions(verify())).addCommand(withCommonOptions(key()));
  return withCommonOptions(command).action((run: string, options: CommonOptions & { out?: string; sign?: string }) => {
    const out = options.out ?? join(run, 'card');
    const plain = makeStatement(run);
    const statement = options.sign === undefined ? plain : signStatement(plain, options.sign);
    const paths = [join(out, 'README.md'), join(out, 'statement.json')] as const;
    writeFileAtomic(paths[0], modelCard(statement, run));
    writeFileAtomic(paths[1], `${JSON.stringify(statement, null, 2)}\n`);
    terminalFor(options).result(
      { card: paths[0], path: paths[1], statement },
      () => `Card: ${paths[0]}\nStatement: ${paths[1]}\n${LIMITS}`,
    );
  });
}

interface VerifyOptions extends CommonOptions {
  statement?: string;
  replay?: string;
}

const verify = (): Command =>
  new Command('verify')
    .description('check a statement against its run')
    .argument('<run>', 'run folder')
    .option('--statement <file>', 'the statement (default: RUN/card/statement.json)')
    .option('--replay <A..B>', 'train from checkpoint A (0: the start) to step B again and compare with checkpoint B')
    .action(async (run: string, options: VerifyOptions) => {
      const terminal = terminalFor(options);
      const segment = options.replay === undefined ? undefined : parseSegment(options.replay);
      const checks = statementChecks(run, options);
      const replay = segment === undefined ? undefined : await replayWithProgress(run, segment, options, terminal);
      if (replay === null) return;
      if (replay !== undefined)
        checks.push({ name: `replay ${options.replay}`, ok: replay.equal, detail: describeReplay(replay) });
      const failed = checks.filter(({ ok }) => ok === false);
      const show = ({ name, ok, detail }: Check): string =>
        `${ok === null ? 'unchecked' : ok ? 'ok       ' : 'FAILED   '}  ${name}: ${detail}`;
      terminal.result({ ok: failed.length === 0, checks, ...(replay && { replay }), limits: LIMITS }, () =>
        [...checks.map(show), LIMITS].join('\n'),
      );
      if (failed.length > 0)
        throw new WorkError(`The statement about ${run} does not hold: ${failed.map(({ name }) => name).join(', ')}.`);
    });

/** A replay needs no statement: it compares with the run's own checkpoint. */
function statementChecks(run: string, options: VerifyOptions): Check[] {
  const path = options.statement ?? join(run, 'card', 'statement.json');
  if (options.replay !== undefined && options.statement === undefined && !existsSync(path))
    return [{ name: 'statement', ok: null, detail: `none was made yet; "strata card ${run}" makes it` }];
  return verifyStatement(readStatement(path), run);
}

const EXIT_INTERRUPTED = 130;

/** Trains the segment again; null where it was interrupted. */
async function replayWithProgress(
  run: string,
  segment: { from: number; to: number },
  options: VerifyOptions,
  terminal: Terminal,
): Promise<Replay | null> {
  const interrupt = onInterrupt('Stopping');
  const bar = terminal.progress('replay');
  try {
    return await replaySegment(run, segment, {
      ...(options.threads === undefined ? {} : { threads: options.threads }),
      ...{ signal: interrupt.signal, reporter: terminal },
      callbacks: {
        onStep: ({ step, loss }) =>
          bar.update(step - segment.from, segment.to - segment.from, `step ${step}  loss ${loss.toFixed(3)}`),
        onWarning: (sentence) => terminal.warn(sentence),
      },
    });
  } catch (error) {
    if (!(error instanceof Interruption)) throw error;
    terminal.warn(`Stopped at step ${error.step}; nothing was compared.`);
    process.exitCode = EXIT_INTERRUPTED;
    return null;
  } finally {
    bar.finish();
    interrupt.dispose();
  }
}

const key = (): Command =>
  new Command('key')
    .description('make an Ed25519 key pair')
    .requiredOption('--out <file>', 'private key; the public one goes to FILE.pub')
    .action((options: CommonOptions & { out: string }) => {
      if (existsSync(options.out)) throw new InputError(`${options.out} exists already and is not overwritten.`);
      const { privateKey, publicKey } = makeKeyPair();
      writeFileAtomic(options.out, privateKey, 0o600);
      writeFileAtomic(`${options.out}.pub`, publicKey);
      terminalFor(options).result(
        { privateKey: options.out, publicKey: `${options.out}.pub` },
        () => `Private key: ${options.out} (keep it secret)\nPublic key: ${options.out}.pub`,
      );
    });
