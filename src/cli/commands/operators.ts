import { join } from 'node:path';
import type { Command } from 'commander';
import { writeFileAtomic } from '../../files/atomic.js';
import { describeOperator, operatorOf, operatorPage, operatorPages, operators } from '../../growth/index.js';
import { type CommonOptions, defineCommand, terminalFor, withCommonOptions } from '../command.js';
import { formatTable } from '../terminal.js';

interface OperatorsOptions extends CommonOptions {
  markdown?: string;
}

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
  )
    .argument('[id]', 'an operator')
    .option('--markdown <folder>', 'write a page for each operator into a folder');
  return withCommonOptions(command).action((id: string | undefined, options: OperatorsOptions) => {
    const terminal = terminalFor(options);
    if (options.markdown !== undefined) {
      const pages = operatorPages(operators.values());
      for (const [name, text] of pages) writeFileAtomic(join(options.markdown, name), text);
      terminal.result(
        { folder: options.markdown, pages: [...pages.keys()] },
        () => `${pages.size} pages written to ${options.markdown}.`,
      );
      return;
    }
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
