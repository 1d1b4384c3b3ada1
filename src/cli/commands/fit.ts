import type { Command } from 'commander';
import { writeFileAtomic } from '../../files/atomic.js';
import { fitRuns, type FitFile, type SizeFit } from '../../planner/index.js';
import { readRun } from '../../records/index.js';
import { defineCommand, terminalFor, withCommonOptions, type CommonOptions } from '../command.js';
import { expandRunPattern } from '../run-patterns.js';
import { formatTable } from '../terminal.js';

/** `strata fit`: scaling laws and growth guidelines from one's own runs. */
export function create(): Command {
  const command = defineCommand('fit', 'Fit scaling laws and growth guidelines to your own runs.', [
    ["strata fit 'runs/*' --out fit.json", 'from the validation losses of all runs'],
    ['strata plan --params 1e8 --tokens 2e9 --constants fit.json', 'then plan with your own growth timing'],
    ["strata report 'runs/*' --fit fit.json --out report.html", 'and look at the fits'],
  ])
    .argument('<runs...>', 'run folders or quoted patterns')
    .requiredOption('--out <file>', 'where the constants go (JSON)');
  return withCommonOptions(command).action((patterns: string[], options: CommonOptions & { out: string }) => {
    const folders = [...new Set(patterns.flatMap(expandRunPattern))];
    const fit = fitRuns(folders.map((folder) => readRun(folder, { maxTrainRecords: 1 })));
    writeFileAtomic(options.out, `${JSON.stringify(fit, null, 1)}\n`);
    terminalFor(options).result({ out: options.out, ...fit }, () => describe(fit, options.out));
  });
}

function describe(fit: FitFile, out: string): string {
  const number = (value: number | undefined): string =>
    value === undefined || !Number.isFinite(value) ? '-' : value.toPrecision(4);
  const row = ({ params, grown, irreducible, power, points }: SizeFit): string[] => [
    params.toExponential(2),
    grown ? 'grown' : 'scratch',
    String(points.length),
    number(power?.a.value),
    power === null ? '-' : `${number(power.b.value)} (${number(power.b.low)} to ${number(power.b.high)})`,
    number(irreducible?.irreducible.value),
  ];
  const lines = [
    formatTable([['parameters', 'from', 'points', 'a', 'b of L = a C^b', 'E of L = E + a C^b'], ...fit.sizes.map(row)]),
  ];
  for (const { params, flops, best, bracketed } of fit.isoFlop)
    lines.push(
      `${params.toExponential(2)} parameters at ${flops.toExponential(2)} FLOPs: best growth after ${best.value.toExponential(2)} tokens (${best.low.toExponential(2)} to ${best.high.toExponential(2)})${bracketed ? '' : ', at the edge'}`,
    );
  const timing = fit.growthTimingEstimates;
  if (timing !== null)
    lines.push(
      `Growth timing: log10 d = ${number(timing.a.value)} log10 N + ${number(timing.b.value)} / log10 C + ${number(timing.c.value)}`,
      `  95 % intervals: ${[timing.a, timing.b, timing.c].map(({ low, high }) => `${number(low)} to ${number(high)}`).join('; ')}`,
    );
  return [...lines, `Constants: ${out}`, ...fit.notes.map((note) => `Note: ${note}`)].join('\n');
}
