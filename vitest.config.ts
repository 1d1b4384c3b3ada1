import { defineConfig } from 'vitest/config';

// Two workers run at once. A second thread in each would only wait on the other worker, and libgomp's threads wait by
// spinning, which costs several times the work when a core is taken. Tests about threads set their own number.
process.env['OMP_NUM_THREADS'] ??= '1';
process.env['OMP_WAIT_POLICY'] ??= 'passive';

export default defineConfig({
  test: {
    include: [
      'src/**/*.test.ts',
      'recipes/**/*.test.ts',
      'test/**/*.test.ts',
      'bench/**/*.test.ts',
      'scripts/**/*.test.ts',
    ],
    // Native code that fails takes its process with it: forks lose one file then, threads would lose the run.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ['default', './scripts/reporter.mjs'],
  },
});
