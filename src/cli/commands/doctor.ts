import type { Command } from 'commander';
import { defineCommand, terminalFor, withCommonOptions, type CommonOptions } from '../command.js';
import { examine, type Finding } from '../doctor/checks.js';
import { formatTable, type Terminal } from '../terminal.js';

const CANNOT_TRAIN = 1;
const SIGNS: Record<Finding['state'], string> = { ok: 'ok', note: 'note', problem: 'PROBLEM' };

/** `strata doctor`: what this machine has, and what to do about what it lacks. */
export function create(): Command {
  const command = defineCommand('doctor', 'Show what this machine has, and what to do about what it lacks.', [
    ['strata doctor', 'a line per part, then the verdict; exit code 1 if this machine cannot train yet'],
    ['strata doctor --json', 'the same for scripts'],
  ]);
  return withCommonOptions(command).action(async (options: CommonOptions) => {
    const terminal = terminalFor(options);
    const findings = await examine(options.threads);
    const canTrain = findings.every(({ state }) => state !== 'problem');
    if (!canTrain) process.exitCode = CANNOT_TRAIN;
    terminal.result({ canTrain, findings }, () => describe(findings, canTrain, terminal));
  });
}

function describe(findings: readonly Finding[], canTrain: boolean, { colors }: Terminal): string {
  const paint = { ok: colors.green, note: colors.yellow, problem: colors.red };
  const rows = findings.flatMap(({ name, state, found, fix }) => [
    [SIGNS[state], name, `: ${found}`],
    ...(fix === undefined ? [] : [['', '', `  fix: ${fix}`]]),
  ]);
  const table = formatTable(rows)
    .split('\n')
    .map((line) => line.replace(/^(ok|note|PROBLEM)/, (sign) => paint[sign.toLowerCase() as Finding['state']](sign)));
  const verdict = canTrain
    ? colors.green('This machine can train.')
    : colors.red('This machine cannot train yet: do what stands after "fix" at each PROBLEM.');
  return [...table, '', verdict].join('\n');
}
