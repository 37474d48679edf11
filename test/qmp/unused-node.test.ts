// Jobs on a node that nobody but the monitor uses: of no user, no permission has come to what is below it.

import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Bench } from './support.js';

const CONTENT = Buffer.alloc(1 << 20, 7);

describe('a raw node that nobody uses', () => {
  let bench: Bench;

  beforeEach(() => {
    bench = new Bench();
    writeFileSync(bench.path('a'), CONTENT);
    writeFileSync(bench.path('b'), Buffer.alloc(CONTENT.length));
  });
  afterEach(() => bench.close());

  const raw = (name: string) => ({
    driver: 'raw',
    'node-name': name,
    file: { driver: 'file', filename: bench.path(name) },
  });

  it('can be backed up, to a node and to a file', async () => {
    const client = await bench.client();
    for (const name of ['a', 'b']) await client.call('blockdev-add', raw(name));
    const job = { device: 'a', sync: 'full', 'job-id': 'j' };
    await client.call('blockdev-backup', { ...job, target: 'b' });
    const first = await client.event('BLOCK_JOB_COMPLETED');
    expect(first.data).not.to.have.property('error');
    await client.event('JOB_STATUS_CHANGE', ({ status }) => status === 'null');
    await client.call('drive-backup', { ...job, 'job-id': 'k', target: bench.path('c'), format: 'raw' });
    const second = await client.event('BLOCK_JOB_COMPLETED', ({ device }) => device === 'k');
    expect(second.data).not.to.have.property('error');
    for (const name of ['b', 'c']) expect(readFileSync(bench.path(name)).equals(CONTENT), name).to.equal(true);
  });
});
