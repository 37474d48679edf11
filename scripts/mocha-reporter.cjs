// mocha's `spec` reporter that also leaves the run's counts and its failures in the file that DISKWRIGHT_COUNTS names, so that
// `npm test` can sum several runs, and the time of each file in the one that DISKWRIGHT_TIMES names.
'use strict';
const { appendFileSync, writeFileSync } = require('node:fs');
const Mocha = require('mocha');

/** Characters of an error that are repeated at the end of `npm test`. */
const LONGEST_ERROR = 3000;

module.exports = class CountingReporter extends Mocha.reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const { DISKWRIGHT_COUNTS: counts, DISKWRIGHT_TIMES: times } = process.env;
    const spent = new Map();
    runner.on('test end', ({ file, duration }) => spent.set(file, (spent.get(file) ?? 0) + (duration ?? 0)));
    const details = [];
    runner.on('fail', (test, error) => {
      const title = typeof test.fullTitle === 'function' ? test.fullTitle() : test.title;
      details.push(`${title}\n${String(error?.stack ?? error).slice(0, LONGEST_ERROR)}`);
    });
    runner.once('end', () => {
      const { passes, failures } = runner.stats;
      if (counts !== undefined) {
        writeFileSync(counts, JSON.stringify({ passed: passes, failed: failures, details }));
      }
      if (times !== undefined) for (const [file, ms] of spent) appendFileSync(times, `${ms}\t${file}\n`);
    });
  }
};
