import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { openDataset } from '../../data/index.js';
import { InputError } from '../../errors.js';
import { type AttentionReport, measureAttention } from '../../eval/index.js';
import { loadModel } from '../../infer/index.js';
import { requireFigureFile, writeAttentionFigure } from '../../report/index.js';
import { type CommonOptions, terminalFor } from '../command.js';
import { formatTable } from '../terminal.js';

/** What `strata inspect --attention` takes beside the checkpoint. */
export interface AttentionCommandOptions extends CommonOptions {
  data?: string;
  sequences: number;
  length: number;
  out?: string;
}

/** `strata inspect --attention`: approximate rank and column mass of every head, as a table and a figure. */
export async function inspectAttention(reference: string, options: AttentionCommandOptions): Promise<void> {
  const { data, out, sequences, length } = options;
  if (data === undefined) throw new InputError('--attention needs --data DIR: token shards that the model is run on.');
  if (out !== undefined) requireFigureFile(out);
  const terminal = terminalFor(options);
  const folder =
    [join(data, 'train'), data, join(data, 'validation')].findLast((path) => existsSync(join(path, 'index.json'))) ??
    data;
  using dataset = openDataset(folder);
  using model = loadModel(reference, { threads: options.threads });
  const progress = terminal.progress('attention');
  const found = await measureAttention(model, dataset, {
    sequences,
    length,
    onProgress: (done, total) => progress.update(done, total, `${done} sequences`),
  });
  progress.finish();
  if (out !== undefined) writeAttentionFigure(out, found, reference);
  terminal.result({ checkpoint: model.folder, data: folder, ...found, ...(out === undefined ? {} : { out }) }, () =>
    [describe(found), ...(out === undefined ? [] : [`figure: ${out}`])].join('\n'),
  );
}

function describe({ layers, averageRank, sequences, length }: AttentionReport): string {
  const list = (values: readonly number[]): string => values.map((value) => value.toFixed(1)).join(' ');
  const half = Math.ceil(layers.length / 2);
  const range = (from: number, to: number): string => (to - from > 1 ? `layers ${from} to ${to - 1}` : `layer ${from}`);
  return [
    `Attention over ${sequences} sequences of ${length} tokens. Rank: singular values with 90 % of the squares; columns: with 90 % of the mass.`,
    formatTable([
      ['layer', 'max rank', 'max columns', 'rank of each head', 'columns of each head'],
      ...layers.map(({ layer, maxRank, maxColumns, heads }) => [
        String(layer),
        maxRank.toFixed(1),
        maxColumns.toFixed(1),
        list(heads.map(({ rank }) => rank)),
        list(heads.map(({ columns }) => columns)),
      ]),
    ]),
    `Mean of max rank: ${range(0, half)} ${averageRank.firstHalf.toFixed(1)}` +
      (half < layers.length ? `, ${range(half, layers.length)} ${averageRank.secondHalf.toFixed(1)}` : ''),
  ].join('\n');
}
