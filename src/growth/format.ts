import { asMatrix, type Expression, type Selection } from './expression.js';
import type { LayerSource, Plan } from './plan.js';

/** An expression as one line of text. */
export function formatExpression(expression: Expression): string {
  const inner = (part: Expression): string => formatExpression(part);
  switch (expression.op) {
    case 'copy':
      return expression.of;
    case 'zero':
      return '0';
    case 'constant':
      return String(expression.by);
    case 'draw':
      return `draw(std ${short(expression.by)}, "${expression.name}")`;
    case 'learned':
      return `learned "${expression.of}"`;
    case 'take':
      return `${expression.axis === 0 ? 'rows' : 'columns'} ${formatIndex(expression)} of ${inner(expression.of)}`;
    case 'scale':
      return typeof expression.by === 'number'
        ? `${short(expression.by)} * (${inner(expression.of)})`
        : `${formatFactors(expression.by)} per ${expression.axis === 1 ? 'column' : 'row'} * (${inner(expression.of)})`;
    case 'block': {
      const grid = expression.of.map((row) => row.map(inner).join(', ')).join('; ');
      const old = [
        ...(expression.rows ? [`rows ${formatIndex(expression.rows)}`] : []),
        ...(expression.columns ? [`columns ${formatIndex(expression.columns)}`] : []),
      ];
      return `[${grid}] with ${old.join(', ')}`;
    }
    case 'mix':
      if ('learned' in expression.by)
        return `row ${expression.by.row} of learned "${expression.by.learned}" over (${expression.of.map(inner).join(', ')})`;
      return expression.of
        .map((part, i) => `${short((expression.by as readonly number[])[i]!)} * (${inner(part)})`)
        .join(' + ');
    case 'slerp':
      return `slerp ${short(expression.by)} (${expression.of.map(inner).join(', ')})`;
    case 'pairedNoise':
      return `±noise ${expression.snrDb} dB in ${expression.pairs.length} column pairs on (${inner(expression.of)})`;
    case 'unevenSplit':
      return `columns ${formatIndex(expression)}, split unevenly (std ${short(expression.by)}), of ${inner(expression.of)}`;
    case 'transport':
      return `transport(${expression.of.map(inner).join(' to ')})`;
    case 'product':
      return expression.of.map((part, i) => `(${inner(part)})${expression.transposed[i] ? 'ᵀ' : ''}`).join(' · ');
    default:
      return expression satisfies never;
  }
}

const short = (value: number): string => String(Number(value.toPrecision(4)));

const MAX_RUNS = 8;

/** An index with runs shortened: [0..63, 0..63]; -1 is "new". */
export function formatIndex({ index, unit = 1 }: Selection): string {
  const runs: string[] = [];
  for (let i = 0; i < index.length; ) {
    const first = index[i]!;
    let length = 1;
    while (i + length < index.length && index[i + length] === (first < 0 ? -1 : first + length)) length++;
    runs.push(first < 0 ? `${length} new` : length === 1 ? String(first) : `${first}..${first + length - 1}`);
    i += length;
  }
  const shown = runs.length > MAX_RUNS ? [...runs.slice(0, MAX_RUNS), `... ${runs.length - MAX_RUNS} more`] : runs;
  return `[${shown.join(', ')}]${unit === 1 ? '' : ` x ${unit}`}`;
}

function formatFactors(by: readonly number[]): string {
  const different = [...new Set(by)];
  return different.length <= 4 ? `{${different.map(short).join(', ')}}` : `{${different.length} factors}`;
}

/** A layer list on one line: 0 1 1z (z: outputs zeroed), * (fresh), (0+1) (made of two). */
export const formatLayers = (layers: readonly LayerSource[]): string =>
  layers
    .map((layer) => {
      switch (layer.kind) {
        case 'copy':
          return String(layer.from);
        case 'zeroed':
          return `${layer.from}z`;
        case 'draw':
          return '*';
        default:
          return `(${layer.from.join('+')})`;
      }
    })
    .join(' ');

/** The fields of a plan that scripts read. */
export function planDocument(plan: Plan): Record<string, unknown> {
  const { operator, planHash, preservesFunction, source, target, tensors, connectionRate, peakBytes, ...more } = plan;
  return {
    operator,
    planHash,
    preservesFunction,
    source,
    target,
    tensors,
    ...(connectionRate === undefined ? {} : { connectionRate }),
    peakBytes,
    ...more,
  };
}

/** Elements of a shape, for people: 4096 x 1024. */
export const formatShape = (shape: readonly number[]): string =>
  shape.length === 1 ? String(shape[0]) : asMatrix(shape).join(' x ');
