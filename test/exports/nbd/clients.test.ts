// The clients that people have, against our server: they find nothing to writeMessage of. (The whole of them: test/interop.)

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect } from 'chai';
import type { Image } from '../../../src/library/image.js';
import { requirePeer } from '../../support/peers.js';
import { MIB, pattern, Stage } from './support.js';

const run = promisify(execFile);
const LIMITS = { timeout: 30_000, maxBuffer: 64 * MIB };

describe('nbd server: clients', () => {
  let stage: Stage;
  let image: Image;

  before(function () {
    for (const peer of ['nbdinfo', 'nbdcopy', 'qemu-io', 'qemu-img']) requirePeer(this, peer);
  });
  beforeEach(async () => {
    stage = new Stage();
    image = await stage.image('disk', { size: 16 * MIB });
  });
  afterEach(() => stage.close());

  it('nbdinfo reads everything', async () => {
    await stage.serve(image, { description: 'a disk', allocationDepth: true });
    const { stdout } = await run('nbdinfo', ['--json', stage.uri], LIMITS);
    const [found] = JSON.parse(stdout).exports;
    expect(found).to.include({
      'export-name': '',
      description: 'a disk',
      'export-size': 16 * MIB,
      can_multi_conn: true,
    });
    expect(found.contexts).to.deep.equal(['base:allocation', 'qemu:allocation-depth']);
    const list = await run('nbdinfo', ['--list', '--json', stage.uri], LIMITS);
    expect(JSON.parse(list.stdout).exports).to.have.lengthOf(1);
  });

  it('nbdcopy copies to and from', async () => {
    const { writeFileSync, readFileSync } = await import('node:fs');
    const bytes = Buffer.concat([pattern(3 * MIB), Buffer.alloc(6 * MIB), pattern(7 * MIB, 2)]);
    writeFileSync(stage.path('in.raw'), bytes);
    await stage.serve(image);
    await run('nbdcopy', [stage.path('in.raw'), stage.uri], LIMITS);
    await run('nbdcopy', [stage.uri, stage.path('out.raw')], LIMITS);
    expect(readFileSync(stage.path('out.raw')).equals(bytes)).to.equal(true);
    await run('nbdcopy', ['--synchronous', stage.uri, stage.path('out2.raw')], LIMITS);
    expect(readFileSync(stage.path('out2.raw')).equals(bytes)).to.equal(true);
  });

  it('qemu-io and qemu-img work on it', async () => {
    await stage.serve(image);
    const commands = [
      'write -P 1 0 1M',
      'write -P 2 -f 1M 64k',
      'write -z 512k 64k',
      'write -z -u 576k 64k',
      'discard 64k 64k',
      'flush',
      'aio_write -P 3 2M 4M',
      'aio_read 2M 4M',
      'aio_flush',
      'read -P 3 2M 4M',
      'read -P 0 512k 128k',
      'read -P 1 700k 300k',
    ];
    const args = commands.flatMap((command) => ['-c', command]);
    const { stdout } = await run('qemu-io', ['-f', 'raw', ...args, stage.uri], LIMITS);
    expect(stdout).to.not.match(/failed|error/i);
    const map = await run('qemu-img', ['map', '--output=json', '-f', 'raw', stage.uri], LIMITS);
    expect(
      JSON.parse(map.stdout).map(({ start, data }: { start: number; data: boolean }) => [start, data]),
    ).to.deep.equal([
      [0, true],
      [65536, false],
      [131072, true],
      [512 * 1024, false],
      [640 * 1024, true],
      [MIB + 65536, false],
      [2 * MIB, true],
      [6 * MIB, false],
    ]);
  });
});
