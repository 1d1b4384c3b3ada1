/** A file that a task reads, as its authors published it. */
export interface SourceFile {
  /** Path below the data folder. */
  readonly path: string;
  /** Rows (lines, blocks or pages) that it has. */
  readonly rows: number;
  /** Undefined where none was published: then only the rows are counted. */
  readonly sha256?: string;
}

/** One split of a task's data: the published file, or the hub's Parquet export of the same rows. */
export interface Split {
  readonly name: 'train' | 'validation' | 'test';
  readonly file: SourceFile;
  /** How the file is cut into rows where it is not JSON lines. */
  readonly cut?: (text: string) => Row[];
  /** A second file that belongs to the first, line by line (PIQA's labels). */
  readonly labels?: SourceFile;
  /** Folder of the split's Parquet files below the data folder, and how their names start. */
  readonly parquet: { readonly folder: string; readonly prefix: string };
}

/** Text before and the text whose probability is asked for. */
export interface TextRequest {
  readonly context: string;
  readonly continuation: string;
}

/** A question with given answers: the most probable one is the model's. */
export interface Question {
  /** One per answer, in the order of the answers. */
  readonly requests: readonly TextRequest[];
  /** The answers as length normalisation counts them. */
  readonly choices: readonly string[];
  /** Index of the right answer. */
  readonly gold: number;
}

/** A text of which only the last word is predicted. */
export interface LastWord {
  readonly request: TextRequest;
}

/** A whole text, every token of which is predicted. */
export interface Page {
  readonly text: string;
  /** Words and UTF-8 bytes of the original text, by which its log-likelihood is divided. */
  readonly words: number;
  readonly bytes: number;
}

interface TaskBase {
  readonly name: string;
  readonly title: string;
  /** Who published it. */
  readonly citation: string;
  /** The hub's dataset of the same rows, and its config where it has several. */
  readonly dataset: { readonly path: string; readonly name?: string };
  /** Version of the harness's definition that this equals. */
  readonly version: number;
  readonly split: Split;
  /** Where the examples of few-shot prompts come from: the split that the harness takes, the scored one where left out. */
  readonly examples?: Split;
  /** Where to get the data. */
  readonly origin: string;
}

/** A task of questions. `Row` is what the reader of its format yields. */
export interface ChoiceTask extends TaskBase {
  readonly kind: 'choice';
  readonly metrics: readonly ('acc' | 'acc_norm')[];
  /** Throws `RowError` where the row is not what the format says. */
  readonly read: (row: Row) => Question;
}

export interface LastWordTask extends TaskBase {
  readonly kind: 'lastWord';
  readonly metrics: readonly ['perplexity', 'acc'];
  readonly read: (row: Row) => LastWord;
}

export interface PageTask extends TaskBase {
  readonly kind: 'page';
  readonly metrics: readonly ['word_perplexity', 'byte_perplexity', 'bits_per_byte'];
  readonly read: (row: Row) => Page;
}

/** A benchmark as data: where its rows lie and how a row becomes requests. */
export type Task = ChoiceTask | LastWordTask | PageTask;

/** A row before it is understood: an object of JSON or Parquet, or a piece of text. */
export type Row = Readonly<Record<string, unknown>>;
