// Makes the texts of the studies from a clone of https://github.com/computationalstylistics/100_english_novels (commit 143e601):
//   node studies/novels.mjs CLONE/corpus OUT
// writes train.jsonl (90 novels), report.jsonl (3) and selection.jsonl (2) into OUT.
// The repository states no licence of its own. What is kept is in the public domain in the United States (published before 1931) and where protection
// ends 70 years after the author's death (all had died by 1941).
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Still protected: published later, or by an author who died in 1970. */
const LEFT_OUT = /^(Galsworthy_River_1933|Woolf_Years_1937|Forster_.*)$/;
/** What is never trained on. */
const HELD_OUT = {
  report: ['Conrad_Nostromo_1904', 'Eliot_Adam_1859', 'Hardy_Madding_1874'],
  selection: ['Doyle_Lost_1912', 'Woolf_Lighthouse_1927'],
};

const [corpus, out] = process.argv.slice(2);
if (corpus === undefined || out === undefined) {
  process.stderr.write('Usage: node studies/novels.mjs CLONE/corpus OUT\n');
  process.exit(2);
}

/** Line ends become LF, a form feed is one; byte order marks and blanks at the ends of lines and of the text go. */
const clean = (text) =>
  `${text
    .replace(/\uFEFF/g, '')
    .replace(/\r\n?|\f/g, '\n')
    .replace(/[^\S\n]+$/gm, '')
    .trim()}\n`;

const names = readdirSync(corpus)
  .filter((file) => file.endsWith('.txt'))
  .map((file) => file.slice(0, -'.txt'.length))
  .filter((name) => !LEFT_OUT.test(name))
  .sort();
const heldOut = Object.values(HELD_OUT).flat();
const parts = { train: names.filter((name) => !heldOut.includes(name)), ...HELD_OUT };
const missing = heldOut.filter((name) => !names.includes(name));
if (missing.length > 0 || parts.train.length !== 90) {
  process.stderr.write(
    `${corpus}: expected the 100 novels of commit 143e601, found ${names.length} of 95 that are used\n`,
  );
  process.exit(2);
}
mkdirSync(out, { recursive: true });
for (const [part, ids] of Object.entries(parts)) {
  const rows = ids.map((id) =>
    JSON.stringify({ id, year: Number(id.slice(-4)), text: clean(readFileSync(join(corpus, `${id}.txt`), 'utf8')) }),
  );
  writeFileSync(join(out, `${part}.jsonl`), `${rows.join('\n')}\n`);
  process.stdout.write(`${join(out, `${part}.jsonl`)}: ${ids.length} novels\n`);
}
