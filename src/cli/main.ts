#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { InputError, WorkError } from '../errors.js';
import { commands } from './registry.js';
import { version } from '../version.js';

const EXIT_WORK_FAILED = 1;
const EXIT_BAD_INPUT = 2;

async function main(argv: readonly string[]): Promise<void> {
  const program = new Command('strata')
    .description('Grow language models: train a small one, grow it, train on, and show what that saved.')
    .version(version)
    // Options belong to the command that they stand behind: `card verify` has its own --json beside that of `card`.
    .enablePositionalOptions()
    .showHelpAfterError('(strata --help lists the commands)');
  const named = argv.find((word) => !word.startsWith('-'));
  const entry = named === undefined ? undefined : commands[named];
  if (named !== undefined && entry !== undefined) {
    program.addCommand((await entry.load()).create());
  } else {
    for (const [name, { summary }] of Object.entries(commands))
      program.command(name).description(summary).allowUnknownOption();
  }
  program.exitOverride();
  for (const command of allCommands(program)) command.exitOverride().showSuggestionAfterError();
  await program.parseAsync(argv, { from: 'user' });
}

function* allCommands(command: Command): Generator<Command> {
  for (const child of command.commands) {
    yield child;
    yield* allCommands(child);
  }
}

function fail(error: unknown): void {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : EXIT_BAD_INPUT;
  } else if (error instanceof InputError || error instanceof WorkError) {
    process.stderr.write(`strata: ${error.message}\n`);
    process.exitCode = error instanceof InputError ? EXIT_BAD_INPUT : EXIT_WORK_FAILED;
  } else {
    process.stderr.write(
      `strata: internal error, please report it: ${error instanceof Error ? error.stack : String(error)}\n`,
    );
    process.exitCode = EXIT_WORK_FAILED;
  }
}

// A reader that has seen enough (`strata ... | head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});
main(process.argv.slice(2)).catch(fail);
