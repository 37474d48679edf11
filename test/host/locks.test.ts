// Byte-range locks that belong to the open file, as QEMU's image locks do.
import { spawnSync } from 'node:child_process';
import { expect } from 'chai';
import { requirePeer } from '../support/peers.js';
import { overEngines } from './engines.js';

overEngines('locks', (bench) => {
  before(function () {
    requirePeer(this, 'qemu-io');
  });

  it('two opens of one file in one process conflict as two processes would', async () => {
    const one = await bench.open('locked');
    const two = await bench.open('locked');
    expect(one.lock('exclusive', 100, 2)).to.equal(true);
    expect(two.lock('shared', 101, 1)).to.equal(false);
    expect(two.lockConflicts('shared', 101, 1)).to.equal(true);
    expect(two.lockConflicts('exclusive', 102, 1)).to.equal(false);
    expect(two.lock('exclusive', 102, 10)).to.equal(true);
    expect(one.lockConflicts('exclusive', 100, 2), 'own locks do not conflict').to.equal(false);
    await one.close();
    await two.close();
  });

  it('shared locks live together, exclusive ones do not', async () => {
    const one = await bench.open('shared');
    const two = await bench.open('shared');
    expect(one.lock('shared', 200, 1) && two.lock('shared', 200, 1)).to.equal(true);
    expect(one.lockConflicts('shared', 200, 1)).to.equal(false);
    expect(one.lockConflicts('exclusive', 200, 1)).to.equal(true);
    expect(one.lock('exclusive', 200, 1)).to.equal(false);
    expect(two.lock('none', 200, 1)).to.equal(true);
    expect(one.lock('exclusive', 200, 1)).to.equal(true);
    await one.close();
    await two.close();
  });

  it('closing the file drops its locks', async () => {
    const one = await bench.open('dropped');
    const two = await bench.open('dropped');
    one.lock('exclusive', 0, 1);
    expect(two.lock('exclusive', 0, 1)).to.equal(false);
    await one.close();
    expect(two.lock('exclusive', 0, 1)).to.equal(true);
    await two.close();
  });

  it('an exclusive lock of a file that is open for reading is refused, with the reason', async () => {
    await (await bench.open('reader')).close();
    const file = await bench.open('reader', { writable: false, create: 'never' });
    expect(() => file.lock('exclusive', 5, 1))
      .to.throw(/lock/)
      .with.property('code', 'read-only');
    await file.close();
  });

  it("QEMU's tools see them, at the bytes they use", async () => {
    const file = await bench.open('image.raw');
    await file.truncate(65536);
    // Byte 101: somebody has permission "write"; byte 203: nobody else may resize.
    file.lock('shared', 101, 1);
    file.lock('shared', 201, 1);
    const write = () => spawnSync('qemu-io', ['-f', 'raw', '-c', 'write 0 512', file.path], { encoding: 'utf8' });
    expect(write().stderr).to.match(/lock/);
    file.lock('none', 100, 200);
    expect(write().status).to.equal(0);
    await file.close();
  });
});
