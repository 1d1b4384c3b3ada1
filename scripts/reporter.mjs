// A vitest reporter that prints every skip with its reason and counts for the last line of `npm test`.
import { writeFileSync } from 'node:fs';

/** Where `npm test` wants the counts, as JSON; unset when vitest is run by itself. */
export const SUMMARY_VARIABLE = 'STRATA_TEST_SUMMARY';

export default class SkipReasonReporter {
  onInit(vitest) {
    this.filtered = Boolean(vitest.config.testNamePattern);
  }

  onTestRunEnd(modules, unhandledErrors) {
    const counts = { passed: 0, failed: unhandledErrors.length, skipped: 0 };
    for (const module of modules) {
      const unrun = [module, ...module.children.allSuites()].filter((suite) => suite.errors().length > 0);
      counts.failed += unrun.length;
      for (const test of module.children.allTests()) this.count(test, counts, unrun.length > 0);
    }
    const path = process.env[SUMMARY_VARIABLE];
    if (path !== undefined) writeFileSync(path, JSON.stringify(counts));
    if (counts.failed > 0) process.exitCode = 1;
  }

  count(test, counts, moduleFailed) {
    const { state, note } = test.result();
    const name = `${test.module.relativeModuleId} > ${test.fullName}`;
    if (state === 'passed') counts.passed++;
    else if (state === 'failed') counts.failed++;
    else if (note) {
      counts.skipped++;
      console.log(`skipped: ${name}: ${note}`);
    } else if (this.filtered || moduleFailed) {
      // Left out by -t, or not reached because its file or suite failed, which is counted already.
    } else {
      counts.failed++;
      const why = state === 'skipped' ? "skipped without a reason; use context.skip('reason')" : 'did not finish';
      console.error(`failed: ${name}: ${why}`);
    }
  }
}
