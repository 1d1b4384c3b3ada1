import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { ThreadShare, threadsBeside } from './thread-share.js';

it.each([
  // most, cores, taken, threads
  [2, 2, 0, 2],
  [2, 2, 0.3, 2],
  [2, 2, 0.5, 1],
  [2, 2, 1, 1],
  [2, 2, 2, 1],
  [16, 16, 0.02, 16],
  [16, 16, 0.1, 15],
  [16, 16, 1, 15],
  [16, 16, 3.5, 12],
  [4, 16, 11, 4],
  [4, 16, 13, 3],
  [1, 8, 8, 1],
])('of %i threads on %i cores, %f of them taken, %i work', (most, cores, taken, threads) => {
  expect(threadsBeside(most, cores, taken)).toBe(threads);
});

/** A share of four threads and cores, on a clock and beside processes that the test moves. */
function makeShare() {
  const state = { now: 0, all: 0, own: 0 };
  const set: number[] = [];
  const share = new ThreadShare(4, (threads) => set.push(threads), {
    cores: 4,
    time: () => ({ all: state.all, own: state.own }),
    clock: () => state.now,
  });
  const pass = (seconds: number, others: number, own = 0): void => {
    state.now += seconds;
    state.own += seconds * own;
    state.all += seconds * (own + others);
  };
  const run = (seconds: number, others: number): void => {
    share.begin();
    pass(seconds, others, 4 - others);
    share.end();
  };
  return { share, set, pass, run };
}

it('gives cores up while others need them, and takes them back', () => {
  const { set, run } = makeShare();
  run(1, 0);
  expect(set).toEqual([]);
  run(0.4, 1);
  expect(set).toEqual([]);
  run(0.2, 1);
  expect(set).toEqual([3]);
  run(1, 1);
  run(1, 2);
  run(1, 0);
  expect(set).toEqual([3, 2, 4]);
});

it('does not count what others do while it does nothing', () => {
  const { set, run, pass } = makeShare();
  run(0.4, 0);
  pass(10, 4);
  run(0.6, 0);
  expect(set).toEqual([]);
});

it('forgets what it measured where the number of threads is set', () => {
  const { share, set, run } = makeShare();
  run(1, 2);
  share.allow(2);
  run(1, 2);
  run(1, 3);
  expect(set).toEqual([2, 1]);
});

it('leaves one thread beside processes that keep every core busy', async () => {
  const cores = availableParallelism();
  const set: number[] = [];
  const share = new ThreadShare(cores + 1, (threads) => set.push(threads), { cores });
  const busy = Array.from({ length: cores }, () => spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }));
  try {
    const end = Date.now() + 20_000;
    while (set.at(-1) !== 1 && Date.now() < end) {
      share.begin();
      await sleep(20);
      share.end();
    }
  } finally {
    for (const child of busy) child.kill('SIGKILL');
  }
  expect(set.at(-1)).toBe(1);
}, 30_000);
