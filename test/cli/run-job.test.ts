// A job that a signal ends before it has begun.

import { expect } from 'chai';
import { runJob } from '../../src/cli/run-job.js';
import { withSession } from '../../src/cli/session.js';

describe('a job of the command line', function () {
  this.timeout(60_000);
  it('does not begin after a signal that came while its data were counted', async () => {
    let begun = false;
    const code = await withSession([], (session) =>
      runJob(session, {
        count: async () => {
          process.listeners('SIGTERM').at(-1)?.('SIGTERM');
          return undefined;
        },
        start: async () => {
          begun = true;
          throw new Error('it began');
        },
        progress: 'json',
        stateWhenCancelled: 'Partly.',
        stateWhenFailed: 'Partly.',
        stateBefore: () => 'Nothing was touched.',
      }),
    );
    expect({ begun, code }).to.deep.equal({ begun: false, code: 143 });
  });
});
