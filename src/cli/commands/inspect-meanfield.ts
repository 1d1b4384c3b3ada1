import { InputError } from '../../errors.js';
import { compareMeanField, type MeanFieldReport } from '../../eval/index.js';
import { type CommonOptions, terminalFor } from '../command.js';
import { formatTable } from '../terminal.js';

/** `strata inspect --meanfield`: what rows and columns of two models of different width have in common. */
export function inspectMeanField(first: string, second: string | undefined, options: CommonOptions): void {
  if (second === undefined) throw new InputError('--meanfield compares two models: strata inspect --meanfield A B.');
  const terminal = terminalFor(options);
  const progress = terminal.progress('norms');
  const found = compareMeanField(first, second, { onProgress: (done, total) => progress.update(done, total) });
  progress.finish();
  terminal.result(found, () => describe(found));
}

function describe({ widths, spreads, meanCosine, meanControl, shared, ...found }: MeanFieldReport): string {
  const number = (value: number): string => value.toFixed(3);
  return [
    `Hidden sizes ${widths[0]} and ${widths[1]}. Control: the same with entries (below: units) shuffled.`,
    '',
    'How norms of rows (outputs) and columns (inputs) spread around their mean: cosine of the histograms, and standard deviation over mean.',
    formatTable([
      ['weight', 'side', 'axis', 'cosine', 'control', 'dispersion A', 'dispersion B', 'control'],
      ...spreads.map(({ role, side, axis, cosine, control, dispersion }) => [
        role,
        side,
        axis,
        ...[cosine, control, dispersion.a, dispersion.b, dispersion.control].map(number),
      ]),
      ['mean', '', '', number(meanCosine), number(meanControl)],
    ]),
    '',
    'Whether norms of two kinds of matrix go together along an axis that they share: correlation over its units.',
    formatTable([
      ['axis', 'weights', 'A', 'B', 'control'],
      ...shared.map(({ axis, roles, a, b, control }) => [axis, roles.join(', '), ...[a, b, control].map(number)]),
    ]),
    `Correlation of A's pattern with B's: ${number(found.patternAgreement)}; with the control's: ${number(found.patternControl)}.`,
  ].join('\n');
}
