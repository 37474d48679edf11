// The copy step on bad days: what is said of a failure, what it leaves, and in which order places are taken.

import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { FROM_RUN, MAX_MOVE_BYTES, type MovePiece, type MoveRequest } from '../../src/host/host.js';
import { openRealHost, type RealHost } from '../../src/host/real/index.js';
import { createSimHost } from '../../src/host/sim/index.js';
import { ENGINES, failure, overEngines, pattern } from './engines.js';

import { packClusters, packed, piece, request, STEP, type Subject } from './moves.js';

describe('copy step: faults of the simulation', () => {
  for (const isRead of [true, false]) {
    it(`says which side failed, in which piece: ${isRead ? 'a read' : 'a write'}`, async () => {
      const host = createSimHost();
      host.writeFile('/s', pattern(3 * STEP, 1));
      host.writeFile('/t', new Uint8Array(0));
      const source = await host.open('/s', { writable: false });
      const target = await host.open('/t', { writable: true });
      const operation = isRead ? ('read' as const) : ('write' as const);
      host.setFaults({ rules: [{ operations: [operation], errno: 'EIO', after: 1, times: 1 }] });
      const pieces = [0, 1, 2].map((i) => piece(source, i * STEP, STEP, 2 * i * STEP));
      const { fault, map } = await host.move(request(target, pieces, { granule: STEP }));
      expect(fault).to.deep.include({ isRead, piece: 1 });
      expect(fault!.error).to.deep.include({ code: 'io', path: isRead ? '/s' : '/t' });
      expect(map.length).to.equal(0);
    });
  }
});

overEngines('copy step on bad days', (bench) => {
  for (const [title, faults] of [
    ['short reads and writes', { maxBytes: 3000 }],
    ['EINTR', { interrupts: 300 }],
    ['a slow worker', { delayMs: 5 }],
  ] as const) {
    it(`${title}: all bytes arrive`, async () => {
      const content = Buffer.concat([pattern(STEP, 1), Buffer.alloc(STEP), pattern(6 * STEP, 2)]);
      const source = await bench.open(`s-${title}`);
      const target = await bench.open(`t-${title}`);
      await source.write(0, content);
      bench.host.setFaults(faults);
      const moves = [0, 1].map((half) =>
        bench.host.move(
          request(target, [piece(source, half * 4 * STEP, 4 * STEP, half * 4 * STEP)], { granule: STEP }),
        ),
      );
      // A close waits for the step that uses the file.
      const closing = source.close();
      for (const { fault } of await Promise.all(moves)) expect(fault).to.equal(null);
      await closing;
      expect(readFileSync(target.path).equals(content)).to.equal(true);
    });
  }

  it('takes places in the order of submission, whichever workers carry steps out', async () => {
    const file = (name: string, content: Uint8Array) =>
      bench.open(name).then((it) => it.write(0, content).then(() => it));
    const subject = { host: bench.host, file } as unknown as Subject;
    const { source: stored, packings } = await packClusters(subject, 'zlib', STEP);
    const plain = await file('plain', pattern(STEP, 1));
    const target = await bench.open('in-order');
    const run = bench.host.openRun(0);
    const count = 120;
    const inBackground = (i: number) => i % 3 === 1;
    const order: number[] = [];
    const moves = Array.from({ length: count }, (_, i) => {
      const one = i % 3 === 0 ? packed(stored, packings[0], 0, STEP, FROM_RUN) : piece(plain, 0, STEP, FROM_RUN);
      return bench.host.move(request(target, [one], { slice: STEP, run, background: inBackground(i) }));
    });
    for (const { slices, fault } of await Promise.all(moves)) {
      expect(fault).to.equal(null);
      order.push(slices[0].start);
    }
    run.free();
    // Those of jobs may be passed by others.
    for (const group of [order.filter((_, i) => inBackground(i)), order.filter((_, i) => !inBackground(i))]) {
      expect(group).to.deep.equal([...group].sort((a, b) => a - b));
    }
    expect([...order].sort((a, b) => a - b)).to.deep.equal(Array.from({ length: count }, (_, i) => i * STEP));
  });

  it('says what failed in a file: side, piece, offset, cause', async () => {
    const source = await bench.open('e1');
    await source.write(0, pattern(2 * STEP, 1));
    // Beyond what any file system of Linux takes.
    const far = 2 ** 52;
    const large = await bench.open('e3');
    const written = await bench.host.move(request(large, [piece(source, 0, STEP, 0), piece(source, 0, STEP, far)]));
    expect(written.fault).to.deep.include({ isRead: false, piece: 1 });
    expect(written.fault!.error).to.deep.include({ errno: 'EFBIG', path: large.path, offset: far });
    const folder = await bench.host.open(bench.folder, { writable: false }).catch(() => null);
    if (folder !== null) {
      const target = await bench.open('e2');
      const pieces = [piece(source, 0, STEP, 0), piece(folder, 0, STEP, STEP)];
      const { fault } = await bench.host.move(request(target, pieces));
      expect(fault).to.deep.include({ isRead: true, piece: 1 });
      expect(fault!.error).to.deep.include({ errno: 'EISDIR', path: bench.folder });
      expect(readFileSync(target.path).length, 'nothing is written where reading failed').to.equal(0);
    }
  });

  it('that fails leaves what others move into the same file at that time', async () => {
    const contents = Array.from({ length: 8 }, (_, i) => pattern(4 * STEP, 300 + i));
    const sources = await Promise.all(contents.map((_, i) => bench.open(`ot${i}`)));
    for (const [i, source] of sources.entries()) await source.write(0, contents[i]);
    const memory = await bench.host.open('/proc/self/mem', { writable: false });
    const target = await bench.open('others');
    const run = bench.host.openRun(0);
    const moves = await Promise.all(
      sources.map((source, i) => {
        // Every second one fails in its third slice: its read, or its write, beyond what any file system takes. The fourth is not written then.
        const third = [
          piece(source, 2 * STEP, STEP, FROM_RUN),
          piece(memory, 0, STEP, FROM_RUN),
          piece(source, 2 * STEP, STEP, FROM_RUN),
          piece(source, 2 * STEP, STEP, 2 ** 52),
        ][i % 4];
        const pieces = [piece(source, 0, 2 * STEP, FROM_RUN), third, piece(source, 3 * STEP, STEP, FROM_RUN)];
        return bench.host.move(request(target, pieces, { slice: STEP, run }));
      }),
    );
    const written = readFileSync(target.path);
    for (const [i, { slices, fault }] of moves.entries()) {
      expect(fault === null, `move ${i}`).to.equal(i % 2 === 0);
      if (fault !== null) expect(fault).to.deep.include({ isRead: i % 4 === 1, piece: 1 });
      const parts = slices.map(({ start, taken }) => written.subarray(start, start + taken));
      const expected = contents[i].subarray(0, fault === null ? 4 * STEP : 2 * STEP);
      expect(Buffer.concat(parts).equals(expected), `move ${i}`).to.equal(true);
    }
    expect(run.next).to.equal(4 * 4 * STEP + 4 * 2 * STEP);
    run.free();
  });

  it('refuses what is out of all bounds, and a target that is open for reading', async () => {
    const source = await bench.open('b1');
    const target = await bench.open('b2');
    const move = (pieces: MovePiece[], more: Partial<MoveRequest> = {}) =>
      bench.host.move(request(target, pieces, more));
    expect((await failure(move([piece(source, 0, MAX_MOVE_BYTES + (1 << 20), 0)]))).errno).to.equal('EINVAL');
    expect((await failure(move([piece(source, -512, 512, 0)]))).errno).to.equal('EINVAL');
    expect((await failure(move([piece(source, 0, 512, Number.NaN)]))).errno).to.equal('EINVAL');
    expect((await failure(move([piece(source, 0, 512, 0)], { bytes: 1024 }))).errno).to.equal('EINVAL');
    expect((await failure(move([piece(source, 0, 512, FROM_RUN)]))).errno).to.equal('EFAULT');
    for (const slice of [700, MAX_MOVE_BYTES + (1 << 20)]) {
      const wrong = move([piece(source, 0, 512, 0)], { granule: 512, slice });
      expect((await failure(wrong)).errno, `slice ${slice}`).to.equal('EINVAL');
    }
    expect((await failure(move([piece(source, 0, 512, 0)], { granule: 100 }))).code).to.equal('invalid-argument');
    const readOnly = await bench.host.open(source.path, { writable: false });
    const refused = bench.host.move(request(readOnly, [piece(source, 0, 512, 0)]));
    expect((await failure(refused)).code).to.equal('read-only');
    const direct = await bench.open('b3', { direct: true });
    expect(direct.movable).to.equal(false);
    expect(source.inFlight).to.equal(0);
  });

  it('ends with its host, whose buffers were all given back', async () => {
    const host: RealHost = openRealHost({ engine: ENGINES[0] });
    const file = await host.open(bench.path('own'), { writable: true, create: 'truncate' });
    await file.write(0, pattern(4 * STEP, 1));
    const before = host.memory.mapped;
    for (let i = 0; i < 50; i++) await host.move(request(file, [piece(file, 0, STEP, STEP)]));
    expect(host.memory.mapped).to.equal(before);
    await host.close();
  });
});
