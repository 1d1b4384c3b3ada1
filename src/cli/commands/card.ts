import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { InputError, WorkError } from '../../errors.js';
import { writeFileAtomic } from '../../files/atomic.js';
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

/** `strata card`: model card and compute statement. */
export function create(): Command {
  const command = defineCommand('card', 'Write a model card and a statement of training compute, or check one.', [
    ['strata card runs/grown', 'writes runs/grown/card/README.md and statement.json'],
    ['strata card runs/grown --sign key.pem', 'and signs the statement'],
    ['strata card verify runs/grown', 'checks records, FLOPs, manifests and signature'],
    ['strata card key --out key.pem', 'makes an Ed25519 key'],
  ])
    .argument('<run>', 'run folder')
    .option('--out <dir>', 'folder for both files (default: RUN/card)')
    .option('--sign <file>', 'Ed25519 private key in PEM');
  command.addCommand(withCommonOptions(verify())).addCommand(withCommonOptions(key()));
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

const verify = (): Command =>
  new Command('verify')
    .description('check a statement against its run')
    .argument('<run>', 'run folder')
    .option('--statement <file>', 'the statement (default: RUN/card/statement.json)')
    .action((run: string, options: CommonOptions & { statement?: string }) => {
      const checks = verifyStatement(readStatement(options.statement ?? join(run, 'card', 'statement.json')), run);
      const failed = checks.filter(({ ok }) => ok === false);
      const show = ({ name, ok, detail }: Check): string =>
        `${ok === null ? 'unchecked' : ok ? 'ok       ' : 'FAILED   '}  ${name}: ${detail}`;
      terminalFor(options).result({ ok: failed.length === 0, checks, limits: LIMITS }, () =>
        [...checks.map(show), LIMITS].join('\n'),
      );
      if (failed.length > 0)
        throw new WorkError(`The statement about ${run} does not hold: ${failed.map(({ name }) => name).join(', ')}.`);
    });

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
