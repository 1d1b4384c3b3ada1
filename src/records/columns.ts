/** Numeric fields of train records that charts and comparisons read, one column each. */
export const trainFields = [
  'time',
  'step',
  'tokens',
  'flops',
  'flops6nd',
  'flopsNonEmbedding',
  'loss',
  'lr',
  'gradNorm',
  'tokensPerSecond',
] as const;
export type TrainField = (typeof trainFields)[number];

/** Train records as columns of equal length; NaN where a field was missing or not finite. */
export type TrainColumns = { readonly length: number; readonly stage: Uint16Array } & {
  readonly [field in TrainField]: Float64Array;
};

const INITIAL_CAPACITY = 256;
const MAX_STAGES = 65_535;

/** Collects train records row by row. */
export class ColumnBuilder {
  readonly stages: string[] = [];
  #capacity = INITIAL_CAPACITY;
  #length = 0;
  #columns = trainFields.map(() => new Float64Array(INITIAL_CAPACITY));
  #stage = new Uint16Array(INITIAL_CAPACITY);
  #lastStage: Buffer = Buffer.alloc(0);
  #lastStageIndex = -1;

  get length(): number {
    return this.#length;
  }

  /** Adds one row; `values` follow `trainFields`. */
  push(values: ArrayLike<number>, stageIndex: number): void {
    if (this.#length === this.#capacity) this.#grow();
    for (let i = 0; i < this.#columns.length; i++) {
      const column = this.#columns[i];
      if (column !== undefined) column[this.#length] = values[i] ?? NaN;
    }
    this.#stage[this.#length++] = stageIndex;
  }

  stageIndex(name: string): number {
    const known = this.stages.indexOf(name);
    if (known >= 0) return known;
    return this.stages.length < MAX_STAGES ? this.stages.push(name) - 1 : MAX_STAGES - 1;
  }

  /** The same from bytes, without making a string when the stage is the one of the row before. */
  stageIndexOfBytes(buffer: Buffer, start: number, end: number): number {
    const same =
      this.#lastStageIndex >= 0 &&
      end - start === this.#lastStage.length &&
      this.#lastStage.compare(buffer, start, end) === 0;
    if (!same) {
      this.#lastStage = Buffer.from(buffer.subarray(start, end));
      this.#lastStageIndex = this.stageIndex(this.#lastStage.toString());
    }
    return this.#lastStageIndex;
  }

  build(): TrainColumns {
    const entries = trainFields.map((field, i) => [field, this.#columns[i]?.subarray(0, this.#length)] as const);
    return {
      length: this.#length,
      stage: this.#stage.subarray(0, this.#length),
      ...(Object.fromEntries(entries) as { [field in TrainField]: Float64Array }),
    };
  }

  #grow(): void {
    this.#capacity *= 2;
    this.#columns = this.#columns.map((column) => {
      const larger = new Float64Array(this.#capacity);
      larger.set(column);
      return larger;
    });
    const stage = new Uint16Array(this.#capacity);
    stage.set(this.#stage);
    this.#stage = stage;
  }
}
