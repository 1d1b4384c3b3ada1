import { textField } from './row.js';
import type { PageTask, Row } from './types.js';

const isTitle = (line: string): boolean => {
  const joined = line.replaceAll('= = =', '===').replaceAll('= =', '==').trim();
  return joined.startsWith('= ') && joined.endsWith(' =');
};

/** Cuts the raw text into pages, each from its title on; the last page is kept always, others if they have text. */
export function cutWikitext(text: string): Row[] {
  const pages: string[] = [];
  let lines: string[] = [];
  for (const line of text.split('\n')) {
    if (isTitle(line)) {
      const page = lines.join('\n');
      if (page.trim() !== '') pages.push(page);
      lines = [];
    }
    lines.push(line);
  }
  pages.push(lines.join('\n'));
  return pages.map((page) => ({ page }));
}

/** Undoes the spaces that WikiText's tokenizer put in, in the order and with the slips of the harness. */
export function detokenize(page: string): string {
  return page
    .replaceAll("s '", "s'")
    .replace(/\/' [0-9]\//g, "/'[0-9]/")
    .replaceAll(' @-@ ', '-')
    .replaceAll(' @,@ ', ',')
    .replaceAll(' @.@ ', '.')
    .replaceAll(' : ', ': ')
    .replaceAll(' ; ', '; ')
    .replaceAll(' . ', '. ')
    .replaceAll(' ! ', '! ')
    .replaceAll(' ? ', '? ')
    .replaceAll(' , ', ', ')
    .replace(/\(\s*([^)]*?)\s*\)/g, '($1)')
    .replace(/\[\s*([^\]]*?)\s*\]/g, '[$1]')
    .replace(/\{\s*([^}]*?)\s*\}/g, '{$1}')
    .replace(/"\s*([^"]*?)\s*"/g, '"$1"')
    .replace(/'\s*([^']*?)\s*'/g, "'$1'")
    .replaceAll('= = = =', '====')
    .replaceAll('= = =', '===')
    .replaceAll('= =', '==')
    .replaceAll(' ° ', '°')
    .replaceAll(' \n', '\n')
    .replaceAll('\n ', '\n')
    .replaceAll(' N ', ' 1 ')
    .replaceAll(" 's", "'s");
}

/** WikiText-2 by whole pages: perplexity per word and per byte of the text as it was before detokenization. */
export const wikitext: PageTask = {
  kind: 'page',
  name: 'wikitext',
  title: 'WikiText-2 (pages)',
  citation: 'Merity et al., arXiv 1609.07843',
  dataset: { path: 'EleutherAI/wikitext_document_level', name: 'wikitext-2-raw-v1' },
  version: 2,
  metrics: ['word_perplexity', 'byte_perplexity', 'bits_per_byte'],
  split: {
    name: 'test',
    file: {
      path: 'wikitext/wiki.test.raw',
      rows: 62,
      sha256: '173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08',
    },
    cut: cutWikitext,
    parquet: { folder: 'wikitext', prefix: 'test-' },
  },
  origin:
    'wikitext-2-raw-v1 of Merity et al., or the Parquet files of EleutherAI/wikitext_document_level on the Hugging Face hub',
  read(row) {
    const page = textField(row, 'page');
    return {
      text: detokenize(page),
      words: page.split(/\s+/).length,
      bytes: Buffer.byteLength(page),
    };
  },
};
