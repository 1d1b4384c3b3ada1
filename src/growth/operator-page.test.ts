import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { describeOperator, operatorPages } from './operator-page.js';
import { operators } from './registry.js';

const folder = new URL('../../docs/operators/', import.meta.url).pathname;

describe('docs/operators', () => {
  it('are what the operators say (strata operators --markdown docs/operators)', () => {
    const pages = operatorPages(operators.values());
    expect(readdirSync(folder).sort()).toEqual([...pages.keys()].sort());
    for (const [name, text] of pages) expect([name, readFileSync(`${folder}${name}`, 'utf8')]).toEqual([name, text]);
  });
});

describe('operators', () => {
  it('all have a paper, a condition, a drawing and described options with defaults', () => {
    for (const operator of operators.values()) {
      const { options } = describeOperator(operator) as { options: { name: string; description: string }[] };
      expect(options.map(({ name }) => name)).toContain('seed');
      for (const option of options)
        expect([operator.id, option.name, option.description.length > 5]).toEqual([operator.id, option.name, true]);
      for (const text of [
        operator.title,
        operator.paper,
        operator.summary,
        operator.reaches,
        operator.drawing,
        operator.preservesFunction.condition,
      ])
        expect(text.length).toBeGreaterThan(5);
    }
  });

  // The ids that scripts and recipes rely on.
  it.each([
    'stack',
    'interpolate',
    'partial-stack',
    'gradual-top',
    'midas',
    'solar',
    'block-expansion',
    'dlo',
    'average',
    'lesa',
    'zero-depth',
    'random-depth',
    'ligo-depth',
    'direct-width',
    'fpi',
    'aki',
    'hypercloning',
    'lemon',
    'staged-width',
    'mean-field',
    'zero-width',
    'random-width',
    'ligo-width',
    'ligo',
    'staged',
    'msg',
    'aki-pro',
    'inherit',
    'expand',
    'szp',
    'sparkling',
    'mup-width',
    'opt-deus',
  ])('there is %s', (id) => expect(operators.has(id)).toBe(true));
});
