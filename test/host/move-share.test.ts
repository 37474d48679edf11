// The copy step on file systems that share blocks between files, and where it is asked to share and cannot: the bytes are the same in all cases.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { FROM_RUN, type HostFile, MOVE_SLICE_BYTES, type MovePiece, type MoveRequest } from '../../src/host/host.js';
import { openRealHost, type RealHost } from '../../src/host/real/index.js';
import { type Mounted, mountReflink, REFLINK_SYSTEMS, sharedBytes } from '../support/reflink.js';
import { failure, overEngines, pattern } from './engines.js';

const KiB = 1024;
const MiB = 1024 * KiB;

const piece = (file: HostFile | null, offset: number, length: number, to: number): MovePiece => ({
  file,
  offset,
  length,
  to,
});

function request(target: HostFile, pieces: MovePiece[], more: Partial<MoveRequest> = {}): MoveRequest {
  const bytes = pieces.reduce((sum, { length }) => sum + length, 0);
  return { pieces, bytes, target, run: null, granule: 0, slice: MOVE_SLICE_BYTES, share: true, ...more };
}

for (const system of REFLINK_SYSTEMS) {
  describe(`copy step that shares blocks (${system})`, () => {
    let mounted: Mounted;
    let host: RealHost;
    const path = (name: string) => join(mounted.folder, name);
    const open = (name: string) => host.open(path(name), { writable: true, create: 'keep' });
    const filled = async (name: string, content: Uint8Array) => {
      const file = await open(name);
      await file.write(0, content);
      return file;
    };

    before(function () {
      mounted = mountReflink(this, system);
      host = openRealHost();
    });
    after(async () => {
      await host?.close();
      mounted?.remove();
    });

    it('takes no space for what lines up, and later writes to either file do not reach the other', async () => {
      const content = pattern(3 * MiB, 1);
      const source = await filled('source', content);
      const target = await open('target');
      const { fault, slices } = await host.move(request(target, [piece(source, 0, content.length, 0)]));
      expect(fault).to.equal(null);
      expect(slices.every(({ taken }) => taken === 0)).to.equal(true);
      expect(sharedBytes(path('target'))).to.equal(content.length);
      await source.write(MiB, Buffer.alloc(100, 1));
      await target.write(2 * MiB, Buffer.alloc(100, 2));
      expect(
        readFileSync(path('target'))
          .subarray(0, 2 * MiB)
          .equals(content.subarray(0, 2 * MiB)),
      ).to.equal(true);
      expect(
        readFileSync(path('source'))
          .subarray(2 * MiB)
          .equals(content.subarray(2 * MiB)),
      ).to.equal(true);
    });

    it('replaces what was there, cached or not', async () => {
      const content = pattern(2 * MiB, 2);
      const source = await filled('fresh', content);
      const target = await filled('old', pattern(3 * MiB, 3));
      await target.flush();
      await target.write(0, pattern(64 * KiB, 4));
      await host.move(request(target, [piece(source, MiB, MiB, 0), piece(source, 0, MiB, MiB)]));
      const back = Buffer.alloc(3 * MiB);
      await target.read(0, back);
      const expected = [content.subarray(MiB), content.subarray(0, MiB), pattern(3 * MiB, 3).subarray(2 * MiB)];
      expect(back.equals(Buffer.concat(expected))).to.equal(true);
      expect(sharedBytes(path('old'))).to.equal(2 * MiB);
    });

    it('copies what does not line up, is zeroes or lies behind the end, in its place of the run', async () => {
      const content = pattern(MiB + 5000, 5);
      const source = await filled('pieces', content);
      const target = await open('gathered');
      const run = host.openRun(64 * KiB);
      const pieces = [
        piece(source, 64 * KiB, 128 * KiB, FROM_RUN),
        piece(source, 512, 64 * KiB, FROM_RUN),
        piece(source, 256 * KiB, 64 * KiB, 0),
        piece(null, 0, 64 * KiB, FROM_RUN),
        piece(source, 512 * KiB, 64 * KiB, FROM_RUN),
        // The last bytes of the file and zeroes behind it.
        piece(source, MiB, 64 * KiB, FROM_RUN),
        piece(source, 128 * KiB, 64 * KiB, FROM_RUN),
      ];
      for (const slice of [64 * KiB, MiB]) {
        const before = run.next;
        const { fault, slices } = await host.move(request(target, pieces, { run, slice }));
        expect(fault).to.equal(null);
        expect(run.next - before).to.equal(448 * KiB);
        expect(slices.reduce((sum, { taken }) => sum + taken, 0)).to.equal(448 * KiB);
        const parts = [
          content.subarray(64 * KiB, 192 * KiB),
          content.subarray(512, 512 + 64 * KiB),
          Buffer.alloc(64 * KiB),
          content.subarray(512 * KiB, 576 * KiB),
          Buffer.concat([content.subarray(MiB), Buffer.alloc(64 * KiB - 5000)]),
          content.subarray(128 * KiB, 192 * KiB),
        ];
        const written = readFileSync(path('gathered'));
        expect(written.subarray(before, run.next).equals(Buffer.concat(parts)), `slices of ${slice}`).to.equal(true);
        expect(written.subarray(0, 64 * KiB).equals(content.subarray(256 * KiB, 320 * KiB))).to.equal(true);
      }
      run.free();
      expect(sharedBytes(path('gathered'))).to.be.at.least(2 * 256 * KiB);
    });

    it('shares nothing unless it is asked, and never with a zero test', async () => {
      const content = pattern(MiB, 6);
      const source = await filled('alone', content);
      const target = await open('copy');
      await host.move(request(target, [piece(source, 0, MiB, 0)], { share: false }));
      expect(readFileSync(path('copy')).equals(content)).to.equal(true);
      expect(sharedBytes(path('copy'))).to.equal(0);
      const tested = host.move(request(target, [piece(source, 0, MiB, 0)], { granule: 4096 }));
      expect((await failure(tested)).errno).to.equal('EINVAL');
    });

    it('copies between two file systems', async () => {
      const content = pattern(MiB, 7);
      const target = await open('from-elsewhere');
      // On the file system that holds the mounted one.
      const source = await host.open(join(mounted.folder, '..', 'other'), { writable: true, create: 'truncate' });
      await source.write(0, content);
      for (const to of [0, MiB]) {
        const { fault } = await host.move(request(target, [piece(source, 0, MiB, to)]));
        expect(fault).to.equal(null);
      }
      expect(readFileSync(path('from-elsewhere')).equals(Buffer.concat([content, content]))).to.equal(true);
    });

    it('says which side failed where it had to copy', async () => {
      const source = await filled('good', pattern(MiB, 8));
      const target = await open('half');
      const memory = await host.open('/proc/self/mem', { writable: false });
      const pieces = [piece(source, 0, 64 * KiB, 0), piece(memory, 0, 64 * KiB, 64 * KiB)];
      const { fault } = await host.move(request(target, pieces));
      expect(fault).to.deep.include({ isRead: true, piece: 1 });
      expect(fault!.error).to.deep.include({ errno: 'EIO', path: '/proc/self/mem', offset: 0 });
    });
  });
}

overEngines('copy step that is asked to share', (bench) => {
  it('copies where the file system cannot, also the next time', async () => {
    const content = pattern(3 * MiB, 9);
    const source = await bench.open('source');
    await source.write(0, content);
    const target = await bench.open('target');
    const run = bench.host.openRun(0);
    const half = content.length / 2;
    for (const offset of [0, half]) {
      const { fault } = await bench.host.move(request(target, [piece(source, offset, half, FROM_RUN)], { run }));
      expect(fault).to.equal(null);
    }
    expect(run.next).to.equal(content.length);
    run.free();
    expect(readFileSync(bench.path('target')).equals(content)).to.equal(true);
  });

  it('ends while the buffers are full of what is behind it', async () => {
    const content = pattern(8 * MiB, 10);
    const source = await bench.open('large');
    await source.write(0, content);
    const target = await bench.open('many');
    for (let round = 0; round < 8; round++) {
      // Each time another file, of which is not known yet that it cannot be shared.
      const again = await bench.host.open(source.path, { writable: false });
      const moves = [0, 1, 2, 3].map((i) =>
        bench.host.move(
          request(target, [piece(again, 0, 8 * MiB, i * 8 * MiB)], i === 0 ? { slice: MiB } : { share: false }),
        ),
      );
      for (const { fault } of await Promise.all(moves)) expect(fault).to.equal(null);
      await again.close();
    }
    const written = readFileSync(bench.path('many'));
    for (const i of [0, 1, 2, 3])
      expect(written.subarray(i * 8 * MiB, (i + 1) * 8 * MiB).equals(content)).to.equal(true);
  });
});
