import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { requireEndedMasks } from './masks.js';

it('refuses a model whose masks have still to rise, and nothing else', () => {
  const folder = mkdtempSync(join(tmpdir(), 'strata-masks-'));
  try {
    expect(() => requireEndedMasks(folder)).not.toThrow();
    const write = (growth: object): void =>
      writeFileSync(join(folder, 'strata.json'), JSON.stringify({ format: 1, growth }));
    write({ operator: 'stack' });
    expect(() => requireEndedMasks(folder)).not.toThrow();
    write({ operator: 'msg', masks: [{ kind: 'msg', axis: 'ffn', value: 0.5 }] });
    expect(() => requireEndedMasks(folder)).toThrow(
      /masks still fade new parts of this model in; train until they reach 1/,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});
