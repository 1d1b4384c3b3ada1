import type { RowRun } from '../infer/tiles.js';
import type { TokenRequest } from './encode.js';

/** A request of a group: requests of one document share what they have in common at their beginning. */
export interface GroupedRequest extends TokenRequest {
  /** Any number; equal for requests of one document. */
  readonly group: number;
}

/** Rows that pass through the model together, and what is scored in them. */
export interface Pack {
  readonly ids: Int32Array;
  readonly positions: Int32Array;
  readonly runs: readonly RowRun[];
  /** Rows whose next token is scored, those tokens, and the request that each belongs to, in order of its targets. */
  readonly scoredRows: Int32Array;
  readonly targets: Int32Array;
  readonly requests: Int32Array;
}

/** Requests with a common beginning, which is computed once. */
interface Branches {
  readonly members: readonly number[];
  /** Tokens that all inputs begin with. */
  readonly shared: number;
  readonly rows: number;
}

/**
 * Distributes requests over passes of at most `maxRows` rows, longest first, without padding.
 *
 * Inputs of a group are stored as their common beginning and one branch each. No input may be longer than `maxRows`.
 */
export function packRequests(requests: readonly GroupedRequest[], maxRows: number): Pack[] {
  const waiting = branchesOf(requests, maxRows).sort((a, b) => b.rows - a.rows);
  const packs: Pack[] = [];
  for (let next = 0; next < waiting.length; ) {
    const taken: Branches[] = [];
    let rows = 0;
    // Neighbours in the order are of like length; the first that does not fit ends the pass, but for the shortest that fill it up.
    while (next < waiting.length && rows + (waiting[next] as Branches).rows <= maxRows) {
      taken.push(waiting[next] as Branches);
      rows += (waiting[next++] as Branches).rows;
    }
    while (waiting.length > next && rows + (waiting.at(-1) as Branches).rows <= maxRows) {
      const shortest = waiting.pop() as Branches;
      taken.push(shortest);
      rows += shortest.rows;
    }
    packs.push(pack(requests, taken, rows));
  }
  return packs;
}

function branchesOf(requests: readonly GroupedRequest[], maxRows: number): Branches[] {
  const groups = new Map<number, number[]>();
  requests.forEach(({ group, input }, i) => {
    if (input.length > maxRows) throw new RangeError(`an input of ${input.length} tokens, at most ${maxRows} fit`);
    const members = groups.get(group);
    if (members) members.push(i);
    else groups.set(group, [i]);
  });
  return [...groups.values()].flatMap((members) => {
    const together = branches(requests, members);
    return together.rows <= maxRows ? [together] : members.map((member) => branches(requests, [member]));
  });
}

function branches(requests: readonly GroupedRequest[], members: readonly number[]): Branches {
  const inputs = members.map((i) => (requests[i] as GroupedRequest).input);
  const shared = commonLength(inputs);
  return { members, shared, rows: inputs.reduce((sum, input) => sum + input.length - shared, shared) };
}

function commonLength(inputs: readonly Int32Array[]): number {
  const [first = new Int32Array(), ...others] = inputs;
  let length = first.length;
  for (const other of others) {
    let same = 0;
    while (same < length && same < other.length && other[same] === first[same]) same++;
    length = same;
  }
  return length;
}

function pack(requests: readonly GroupedRequest[], groups: readonly Branches[], rows: number): Pack {
  const ids = new Int32Array(rows);
  const positions = new Int32Array(rows);
  const runs: RowRun[] = [];
  const scored: { row: number; target: number; request: number }[] = [];
  let at = 0;
  /** Appends tokens from position `from` on that see `prefix` rows before. */
  const append = (tokens: Int32Array, from: number, prefixStart: number, prefixEnd: number): number => {
    const first = at;
    ids.set(tokens, first);
    for (let i = 0; i < tokens.length; i++) positions[first + i] = from + i;
    if (tokens.length > 0)
      runs.push({ first, count: tokens.length, prefixStart, prefixEnd, ownStart: first, ownLast: first });
    at += tokens.length;
    return first;
  };
  for (const { members, shared } of groups) {
    const prefix = append((requests[members[0] as number] as GroupedRequest).input.subarray(0, shared), 0, 0, 0);
    for (const member of members) {
      const { input, targets } = requests[member] as GroupedRequest;
      const branch = append(input.subarray(shared), shared, prefix, prefix + shared);
      for (let j = 0; j < targets.length; j++) {
        const position = input.length - targets.length + j;
        const row = position < shared ? prefix + position : branch + position - shared;
        scored.push({ row, target: targets[j] as number, request: member });
      }
    }
  }
  return {
    ids,
    positions,
    runs,
    scoredRows: Int32Array.from(scored, ({ row }) => row),
    targets: Int32Array.from(scored, ({ target }) => target),
    requests: Int32Array.from(scored, ({ request }) => request),
  };
}
