// mocha's `spec` reporter that also leaves the run's counts in the file that DISKWRIGHT_COUNTS names, so that
// `npm test` can sum several runs.
'use strict';
const { writeFileSync } = require('node:fs');
const Mocha = require('mocha');

module.exports = class CountingReporter extends Mocha.reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    runner.once('end', () => {
      const file = process.env.DISKWRIGHT_COUNTS;
      if (file === undefined) return;
      const { passes, failures, pending } = runner.stats;
      writeFileSync(file, JSON.stringify({ passed: passes, failed: failures, skipped: pending }));
    });
  }
};
