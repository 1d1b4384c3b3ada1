import type { Command } from 'commander';
import { Option } from 'commander';
import { ensureLibtorch } from '../../engine/libtorch/install.js';
import { scoreData } from '../../train/index.js';
import { type CommonOptions, defineCommand, parsePositiveInteger, terminalFor, withCommonOptions } from '../command.js';
import { onInterrupt } from '../interrupt.js';
import { formatTable } from '../terminal.js';
import { number } from './data-format.js';

interface ScoreCommandOptions extends CommonOptions {
  data: string;
  out: string;
  sequenceLength: number;
  withinDocuments?: boolean;
  batch: number;
}

const EXIT_INTERRUPTED = 130;
const DEFAULT_BATCH = 8;

/** `strata data score`. */
export function createScore(): Command {
  const command = defineCommand('score', 'store the losses of a reference model beside the tokens', [
    ['strata data score runs/base --data data --sequence-length 256 --out data/scores-base', 'for an objective'],
    ['strata data score runs/base@500 --data data --sequence-length 256 --within-documents --out s', 'its step 500'],
  ])
    .argument('<ckpt>', 'the reference: a Hugging Face folder, a run folder or RUN@step')
    .requiredOption('--data <dir>', 'token shards; of a data set with splits its training part')
    .addOption(
      new Option('--sequence-length <n>', 'data.sequenceLength of the runs that will use the losses')
        .argParser(parsePositiveInteger)
        .makeOptionMandatory(),
    )
    .requiredOption('--out <dir>', 'folder for the losses, 2 bytes a token; name it as "scores" in an objective')
    .option('--within-documents', 'for runs with crossDocumentAttention: false')
    .addOption(new Option('--batch <n>', 'sequences at a time').argParser(parsePositiveInteger).default(DEFAULT_BATCH));
  return withCommonOptions(command).action(score);
}

async function score(reference: string, options: ScoreCommandOptions): Promise<void> {
  const terminal = terminalFor(options);
  await ensureLibtorch(terminal, options.threads);
  const progress = terminal.progress('scoring');
  const interrupt = onInterrupt();
  const start = performance.now();
  try {
    const { folder, index, wasFinished } = await scoreData({
      reference,
      data: options.data,
      out: options.out,
      sequenceLength: options.sequenceLength,
      crossDocumentAttention: options.withinDocuments !== true,
      batch: options.batch,
      ...(options.threads === undefined ? {} : { threads: options.threads }),
      signal: interrupt.signal,
      onProgress: (done, total) => progress.update(done, total, `${number(done)} of ${number(total)} sequences`),
    });
    progress.finish();
    if (index === undefined) {
      terminal.warn('Interrupted. The same command goes on behind the last whole file (16 million tokens each).');
      process.exitCode = EXIT_INTERRUPTED;
      return;
    }
    const seconds = (performance.now() - start) / 1000;
    terminal.result({ folder, ...index, wasFinished, seconds }, () =>
      formatTable([
        [wasFinished ? 'scores (were there)' : 'scores', folder],
        ['reference', `${index.reference.path}, ${index.reference.sha256.slice(0, 12)}`],
        ['tokens', number(index.sequences * index.sequenceLength)],
        ['mean loss', index.meanLoss.toFixed(4)],
        ['FLOPs', `${Number(index.flopsExact).toExponential(3)}, booked by each run that uses them`],
      ]),
    );
  } finally {
    progress.finish();
    interrupt.dispose();
  }
}
