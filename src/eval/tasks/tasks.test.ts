import { describe, expect, it } from 'vitest';
import { readReference, referenceHash } from '../../../test/support/harness-reference.js';
import { evaluationDataOrSkip } from '../../../test/support/tiers.js';
import type { TaskDocument } from '../data/documents.js';
import { loadTask } from '../data/load.js';
import { parseTasks, tasks } from './registry.js';
import type { Question, Row, Task } from './types.js';
import { cutWikitext, detokenize } from './wikitext.js';
import { cutLogiqa } from './logiqa.js';

/** The texts of a document's requests, in order, as the reference hashes them. */
function hashed(document: TaskDocument): string[] {
  switch (document.kind) {
    case 'choice':
      return document.requests.map(({ context, continuation }) => `${context}\0${continuation}`);
    case 'lastWord':
      return [`${document.request.context}\0${document.request.continuation}`];
    case 'page':
      return [document.text];
    default:
      return document satisfies never;
  }
}

const question = (name: string, row: Row): Question => (tasks.get(name) as Extract<Task, { kind: 'choice' }>).read(row);

describe('requests of the published data', () => {
  for (const [name, task] of tasks) {
    it(`${name} equal the harness's, by hash`, async (context) => {
      const { documents, total } = await loadTask(task, evaluationDataOrSkip(context));
      const { docs, summary } = readReference('bos').tasks[name]!;
      expect(total).toBe(summary.n);
      docs.forEach(({ requests }, i) => {
        expect(hashed(documents[i]!).map(referenceHash), `document ${i}`).toEqual(requests.map(([hash]) => hash));
      });
    });
  }

  it('wikitext counts the words and bytes that the harness counts', async (context) => {
    const { documents } = await loadTask(tasks.get('wikitext')!, evaluationDataOrSkip(context));
    const pages = documents.filter((document) => document.kind === 'page');
    readReference('bos').tasks['wikitext']!.docs.forEach(({ metrics }, i) => {
      expect([pages[i]!.words, pages[i]!.bytes]).toEqual([
        (metrics['word_perplexity'] as [number, number])[1],
        (metrics['byte_perplexity'] as [number, number])[1],
      ]);
    });
    expect(pages.reduce((sum, page) => sum + page.bytes, 0)).toBe(1_290_527);
  });
});

describe('prompts', () => {
  it('ARC compares labels, which may be digits, and reads both published forms', () => {
    const authors = {
      question: {
        stem: 'Why?',
        choices: [
          { text: 'no', label: '1' },
          { text: 'so', label: '2' },
        ],
      },
      answerKey: '2',
    };
    const hub = { question: 'Why?', choices: { text: ['no', 'so'], label: ['1', '2'] }, answerKey: '2' };
    const expected = {
      requests: [
        { context: 'Question: Why?\nAnswer:', continuation: ' no' },
        { context: 'Question: Why?\nAnswer:', continuation: ' so' },
      ],
      choices: ['no', 'so'],
      gold: 1,
    };
    expect(question('arc_easy', authors)).toEqual(expected);
    expect(question('arc_challenge', hub)).toEqual(expected);
    expect(() => question('arc_easy', { ...authors, answerKey: 'B' })).toThrow(/"answerKey".*"B"/);
  });

  it('LAMBADA cuts at the last space only', () => {
    const lambada = tasks.get('lambada_openai') as Extract<Task, { kind: 'lastWord' }>;
    expect(lambada.read({ text: 'a b\nc d.\n"E' }).request).toEqual({ context: 'a b\nc', continuation: ' d.\n"E' });
  });

  it('LogiQA normalises full stops and scores the text of an option', () => {
    const rows = cutLogiqa('\nb\nOne.Two\nWhich?\nA.x\nB.y.\nC.z\nD.w\n\na\nc\nq\nA.1\nB.2\nC.3\nD.4\n');
    expect(rows).toHaveLength(2);
    const { requests, gold } = question('logiqa', rows[0]!);
    expect(gold).toBe(1);
    expect(requests[1]).toEqual({
      context: 'Passage: One. Two\nQuestion: Which?\nChoices:\nA. x\nB. y.\nC. z\nD. w\nAnswer:',
      continuation: ' y.',
    });
    expect(() => cutLogiqa('a\nb')).toThrow(/7 lines, found 2/);
  });

  it('PIQA keeps spaces at the end of a solution', () => {
    const { requests, gold } = question('piqa', { goal: 'g', sol1: 'one ', sol2: 'two', label: 1n });
    expect(requests.map(({ continuation }) => continuation)).toEqual([' one ', ' two']);
    expect(gold).toBe(1);
  });

  it('SciQ begins with the newline where there is no support', () => {
    const row = {
      support: '',
      question: 'q',
      distractor1: 'a',
      distractor2: 'b',
      distractor3: 'c',
      correct_answer: 'd',
    };
    const { requests, gold } = question('sciq', row);
    expect(requests[3]).toEqual({ context: '\nQuestion: q\nAnswer:', continuation: ' d' });
    expect(gold).toBe(3);
  });

  it('WinoGrande puts either option into the context and scores what follows the blank', () => {
    const { requests, gold } = question('winogrande', {
      sentence: 'Then _ won. ',
      option1: 'Ann',
      option2: 'Bob',
      answer: '2',
    });
    expect(requests).toEqual([
      { context: 'Then Ann', continuation: ' won.' },
      { context: 'Then Bob', continuation: ' won.' },
    ]);
    expect(gold).toBe(1);
  });

  it('WikiText cuts at titles, keeps the last page and drops blank ones', () => {
    const pages = cutWikitext(' \n = One = \n a \n = = Part = = \n b \n = Two = \n c \n').map((row) => row['page']);
    expect(pages).toEqual([' = One = \n a \n = = Part = = \n b ', ' = Two = \n c \n']);
    expect(detokenize('= = Part = =\nten @-@ year , ( a b ) " q " 1 @,@ 000 .')).toBe(
      '== Part ==\nten-year, (a b) "q" 1,000 .',
    );
  });
});

describe('names of tasks', () => {
  it('the paper has eight; unknown names suggest the nearest', () => {
    expect(parseTasks('paper')).toHaveLength(8);
    expect(parseTasks('piqa, sciq,piqa').map(({ name }) => name)).toEqual(['piqa', 'sciq']);
    expect(() => parseTasks('arc_esay')).toThrow(/"arc_easy"/);
  });
});
