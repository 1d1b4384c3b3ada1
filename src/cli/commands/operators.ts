import type { Command } from 'commander';
import { describeOperator, operatorOf, operatorPage, operators } from '../../growth/index.js';
import { type CommonOptions, defineCommand, terminalFor, withCommonOptions } from '../command.js';
import { formatTable } from '../terminal.js';

/** `strata operators`: the growth operators there are. */
export function create(): Command {
  const command = defineCommand(
    'operators',
    'List the growth operators: direction, paper, options, when the function is preserved.',
    [
      ['strata operators', 'all of them, one a line'],
      ['strata operators stack', 'the page of one'],
      ['strata operators --json', 'the same data for scripts'],
    ],
  ).argument('[id]', 'an operator');
  return withCommonOptions(command).action((id: string | undefined, options: CommonOptions) => {
    const terminal = terminalFor(options);
    if (id !== undefined) {
      const operator = operatorOf(id);
      terminal.result(describeOperator(operator), () => operatorPage(operator));
      return;
    }
    const all = [...operators.values()];
    terminal.result(all.map(describeOperator), () =>
      formatTable([
        ['operator', 'direction', 'function', 'what it does'],
        ...all.map((operator) => [
          operator.id,
          operator.direction,
          operator.preservesFunction.claimed ? 'preserved' : 'changed',
          operator.title,
        ]),
      ]),
    );
  });
}
