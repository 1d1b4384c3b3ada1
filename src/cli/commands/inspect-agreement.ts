import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { openDataset } from '../../data/index.js';
import { InputError } from '../../errors.js';
import { measureAgreement } from '../../eval/index.js';
import { loadModel } from '../../infer/index.js';
import { type CommonOptions, terminalFor } from '../command.js';
import { formatTable } from '../terminal.js';

/** What `strata inspect --agreement` takes beside the checkpoints. */
export interface AgreementCommandOptions extends CommonOptions {
  data?: string;
  tokens: number;
}

/** `strata inspect --agreement`: how alike two models predict held-out text. */
export async function inspectAgreement(
  first: string,
  second: string | undefined,
  options: AgreementCommandOptions,
): Promise<void> {
  const { data, tokens } = options;
  if (second === undefined) throw new InputError('--agreement needs two models, the smaller one first.');
  if (data === undefined) throw new InputError('--agreement needs --data DIR: token shards that both are run on.');
  const terminal = terminalFor(options);
  const folder =
    [join(data, 'train'), data, join(data, 'validation')].findLast((path) => existsSync(join(path, 'index.json'))) ??
    data;
  using dataset = openDataset(folder);
  using one = loadModel(first, { threads: options.threads });
  using other = loadModel(second, { threads: options.threads });
  const found = await measureAgreement(one, other, dataset, { tokens });
  terminal.result({ first: one.folder, second: other.folder, data: folder, ...found }, () =>
    formatTable([
      ['KL(first || second)', `${found.kl.toFixed(5)} nats a token`],
      ['same most probable token', `${(100 * found.topOneMatch).toFixed(2)} %`],
      ['tokens', `${found.tokens.toLocaleString('en-US')} of ${folder}`],
    ]),
  );
}
