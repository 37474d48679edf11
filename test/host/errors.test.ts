// Errors of the system: each says what, where, how much and why.
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { failure, overEngines, pattern } from './engines.js';

overEngines('errors', (bench) => {
  it('a device without space: all fields', async () => {
    const file = await bench.host.open('/dev/full', { writable: true });
    expect(file.kind).to.equal('character');
    for (const buffer of [bench.host.memory.allocate(4096), bench.host.memory.allocate(300000), Buffer.alloc(100)]) {
      buffer.fill(1);
      const error = await failure(file.write(8192, buffer));
      const { code, errno, operation, path, offset, length } = error;
      expect({ code, errno, operation, path, offset, length }).to.deep.equal({
        code: 'no-space',
        errno: 'ENOSPC',
        operation: 'write',
        path: '/dev/full',
        offset: 8192,
        length: buffer.byteLength,
      });
      expect(error.message).to.match(/\/dev\/full.*write.*8192.*no space/);
    }
    expect(file.inFlight).to.equal(0);
    await file.close();
  });

  it('opening what is not there, not allowed, or no file', async () => {
    mkdirSync(bench.path('folder'));
    symlinkSync('round', bench.path('round'));
    execFileSync('mkfifo', [bench.path('fifo')]);
    const cases: [string, string, string][] = [
      ['absent', 'not-found', 'ENOENT'],
      ['folder', 'invalid-argument', 'EISDIR'],
      ['round', 'loop', 'ELOOP'],
      ['fifo', 'io', 'ESPIPE'],
      ['folder/x/y', 'not-found', 'ENOENT'],
    ];
    for (const [name, code, errno] of cases) {
      const error = await failure(bench.open(name, { create: 'never', writable: false }));
      expect([error.code, error.errno, error.operation, error.path]).to.deep.equal([
        code,
        errno,
        'open',
        bench.path(name),
      ]);
    }
    expect((await failure(bench.host.open('a\0b', { writable: false }))).code).to.equal('invalid-argument');
  });

  it('what node does for the host fails with the file, the operation and the words of the system', async () => {
    writeFileSync(bench.path('plain'), '');
    const { host } = bench;
    const below = bench.path('plain/x');
    const calls: [operation: string, call: () => Promise<unknown>][] = [
      ['stat', () => host.stat(below)],
      ['real-path', () => host.realPath(below)],
      ['unlink', () => host.unlink(below)],
      ['read', () => host.readSmall(below, 100)],
      ['free-space', () => host.freeSpace(`${below}/y`)],
    ];
    for (const [operation, call] of calls) {
      const error = await failure(call());
      const path = error.path as string;
      expect([operation, error.operation, error.code, error.errno, error.fromSystem, error.message]).to.deep.equal([
        operation,
        operation,
        'not-found',
        'ENOTDIR',
        true,
        `${path}: ${operation}: not a directory`,
      ]);
      expect(path).to.be.oneOf([below, `${below}/y`]);
    }
    const reading = await failure(host.readSmall(bench.path('.'), 1 << 20));
    expect([reading.code, reading.message]).to.deep.equal([
      'invalid-argument',
      `${bench.path('.')}: read: illegal operation on a directory`,
    ]);
  });

  it('a file that would be too long', async () => {
    const file = await bench.open('too-long');
    const error = await failure(file.truncate(Number.MAX_SAFE_INTEGER - 10));
    expect(error.code).to.be.oneOf(['no-space', 'invalid-argument']);
    expect(error.operation).to.equal('truncate');
    await file.close();
  });

  it('after close every method says closed', async () => {
    const file = await bench.open('closed');
    await file.write(0, pattern(100, 1));
    await file.close();
    await file.close();
    const buffer = bench.host.memory.allocate(512);
    const attempts = [
      () => file.read(0, buffer),
      () => file.write(0, buffer),
      () => file.readv(0, [buffer]),
      () => file.writev(0, [buffer]),
      () => file.flush(),
      () => file.size(),
      () => file.info(),
      () => file.truncate(1),
      () => file.allocate(0, 1, true),
      () => file.punchHole(0, 1),
      () => file.zeroRange(0, 1),
      () => file.discard(0, 1),
      () => file.seek(0),
      () => file.copyRange(0, file, 0, 1),
    ];
    for (const attempt of attempts) expect((await failure(attempt())).code, String(attempt)).to.equal('closed');
    expect(() => file.lock('shared', 0, 1))
      .to.throw()
      .with.property('code', 'closed');
    expect(() => file.lockConflicts('shared', 0, 1))
      .to.throw()
      .with.property('code', 'closed');
  });
});
