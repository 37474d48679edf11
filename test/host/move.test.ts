// The copy step: the same on both engines and on the simulated host. What is read, what is left out, where the rest goes, and what is said of a failure.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import {
  FROM_RUN,
  type Host,
  type HostFile,
  MAX_MOVE_BYTES,
  type MovePiece,
  type MoveRequest,
} from '../../src/host/host.js';
import { INTERFACE_VERSION, loadNative, refuseOther } from '../../src/host/real/binding.js';
import { openRealHost, type RealHost } from '../../src/host/real/index.js';
import { createSimHost } from '../../src/host/sim/index.js';
import { BlockError } from '../../src/util/errors.js';
import { ENGINES, failure, overEngines, pattern } from './engines.js';

const KiB = 1024;
const STEP = 64 * KiB;

interface Subject {
  host: Host;
  /** A writable file with this content. */
  file(name: string, content: Uint8Array): Promise<HostFile>;
  /** What the file holds now. */
  content(name: string): Buffer;
  end(): Promise<void>;
}

function realSubject(engine: 'io_uring' | 'threads'): Subject {
  const folder = mkdtempSync(join(tmpdir(), 'diskwright-move-'));
  const host = openRealHost({ engine });
  return {
    host,
    file: async (name, content) => {
      const file = await host.open(join(folder, name), { writable: true, create: 'truncate' });
      if (content.length > 0) await file.write(0, content);
      return file;
    },
    content: (name) => readFileSync(join(folder, name)),
    end: async () => {
      await host.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function simulatedSubject(): Subject {
  const host = createSimHost();
  return {
    host,
    file: (name, content) => {
      host.writeFile(`/${name}`, content);
      return host.open(`/${name}`, { writable: true });
    },
    content: (name) => Buffer.from(host.readFile(`/${name}`)),
    end: () => host.close(),
  };
}

const piece = (file: HostFile | null, offset: number, length: number, to: number): MovePiece => ({
  file,
  offset,
  length,
  to,
});

function request(target: HostFile, pieces: MovePiece[], more: Partial<MoveRequest> = {}): MoveRequest {
  const bytes = pieces.reduce((sum, { length }) => sum + length, 0);
  return { pieces, bytes, target, run: null, granule: 0, slice: 16 * STEP, ...more };
}

const subjects: [string, () => Subject][] = [
  ...ENGINES.map((engine): [string, () => Subject] => [engine, () => realSubject(engine)]),
  ['simulated', simulatedSubject],
];

for (const [title, make] of subjects) {
  describe(`copy step (${title})`, () => {
    let subject: Subject;
    before(() => {
      subject = make();
    });
    after(() => subject.end());

    it('gathers pieces of several files, each to its place', async () => {
      const [one, two] = [pattern(3 * STEP, 1), pattern(STEP, 2)];
      const a = await subject.file('a', one);
      const b = await subject.file('b', two);
      const target = await subject.file('t', new Uint8Array(0));
      const pieces = [
        piece(a, 512, STEP, 0),
        piece(b, 0, 100, 4 * STEP),
        piece(a, 2 * STEP, STEP, STEP),
        piece(null, 0, 50, 3 * STEP),
      ];
      const moved = await subject.host.move(request(target, pieces));
      expect(moved.slices).to.deep.equal([{ start: -1, taken: 0 }]);
      expect(moved.fault).to.equal(null);
      expect(moved.map.length).to.equal(0);
      const expected = Buffer.alloc(4 * STEP + 100);
      one.copy(expected, 0, 512, 512 + STEP);
      one.copy(expected, STEP, 2 * STEP, 3 * STEP);
      two.copy(expected, 4 * STEP, 0, 100);
      expect(subject.content('t').equals(expected)).to.equal(true);
      expect([a.inFlight, b.inFlight, target.inFlight]).to.deep.equal([0, 0, 0]);
    });

    it('leaves out steps of zeroes: what is there stays, and the rest lies together in the run', async () => {
      const content = Buffer.concat([
        pattern(STEP, 3),
        Buffer.alloc(STEP),
        pattern(2 * STEP, 4),
        Buffer.alloc(STEP),
        pattern(STEP, 5),
      ]);
      const source = await subject.file('s', content);
      const fixed = await subject.file('f', pattern(6 * STEP, 6));
      const there = await subject.host.move(request(fixed, [piece(source, 0, 6 * STEP, 0)], { granule: STEP }));
      expect([...there.map]).to.deep.equal([0, 1, 0, 0, 1, 0]);
      const expected = Buffer.from(content);
      pattern(6 * STEP, 6).copy(expected, STEP, STEP, 2 * STEP);
      pattern(6 * STEP, 6).copy(expected, 4 * STEP, 4 * STEP, 5 * STEP);
      expect(subject.content('f').equals(expected)).to.equal(true);

      const target = await subject.file('r', new Uint8Array(0));
      const run = subject.host.openRun(STEP);
      const pieces = [
        piece(source, 0, 3 * STEP, FROM_RUN),
        piece(source, 3 * STEP, STEP, 0),
        piece(source, 4 * STEP, 2 * STEP, FROM_RUN),
      ];
      const moved = await subject.host.move(request(target, pieces, { granule: STEP, run }));
      expect(moved.slices).to.deep.equal([{ start: STEP, taken: 3 * STEP }]);
      expect(moved.fault).to.equal(null);
      expect(run.next).to.equal(4 * STEP);
      run.free();
      const parts = [3, 0, 2, 5].map((i) => content.subarray(i * STEP, (i + 1) * STEP));
      expect(subject.content('r').equals(Buffer.concat(parts))).to.equal(true);
    });

    it('of zeroes only takes and writes nothing', async () => {
      const source = await subject.file('z', new Uint8Array(2 * STEP));
      const target = await subject.file('zt', new Uint8Array(0));
      const run = subject.host.openRun(0);
      const moved = await subject.host.move(
        request(target, [piece(source, 0, 2 * STEP, FROM_RUN)], { granule: 4096, run }),
      );
      expect(moved.slices).to.deep.equal([{ start: -1, taken: 0 }]);
      expect(moved.map.every((zero) => zero === 1)).to.equal(true);
      expect(run.next).to.equal(0);
      expect(subject.content('zt').length).to.equal(0);
    });

    it('reads zeroes behind the end of a file, and tests a short last step', async () => {
      const source = await subject.file('short', pattern(STEP + 100, 7));
      const target = await subject.file('st', new Uint8Array(0));
      const moved = await subject.host.move(request(target, [piece(source, 0, 3 * STEP + 700, 0)], { granule: STEP }));
      expect([...moved.map]).to.deep.equal([0, 0, 1, 1]);
      expect(subject.content('st').equals(Buffer.concat([pattern(STEP + 100, 7), Buffer.alloc(STEP - 100)]))).to.equal(
        true,
      );
    });

    it('of many at once gives each its own place in the run, without gaps', async () => {
      const parts = Array.from({ length: 40 }, (_, i) => pattern((1 + (i % 4)) * STEP, 100 + i));
      const sources = await Promise.all(parts.map((part, i) => subject.file(`m${i}`, part)));
      const target = await subject.file('many', new Uint8Array(0));
      const run = subject.host.openRun(0);
      const moves = await Promise.all(
        sources.map((source, i) =>
          subject.host.move(request(target, [piece(source, 0, parts[i].length, FROM_RUN)], { granule: STEP, run })),
        ),
      );
      const content = subject.content('many');
      expect(run.next).to.equal(content.length);
      expect(content.length).to.equal(parts.reduce((sum, { length }) => sum + length, 0));
      for (const [i, { slices }] of moves.entries()) {
        const [{ start, taken }] = slices;
        expect(content.subarray(start, start + taken).equals(parts[i]), `move ${i}`).to.equal(true);
      }
    });

    it('works slice by slice: each takes bytes of the run that lie together, and a failure leaves those before it', async () => {
      const content = Buffer.concat([pattern(3 * STEP, 11), Buffer.alloc(STEP), pattern(5 * STEP + 512, 12)]);
      const source = await subject.file('sl', content);
      const target = await subject.file('slt', new Uint8Array(0));
      const run = subject.host.openRun(0);
      // Pieces end within slices, and slices within pieces.
      const ends = [0, STEP, 5 * STEP + 512, content.length];
      const pieces = [1, 2, 3].map((i) => piece(source, ends[i - 1], ends[i] - ends[i - 1], FROM_RUN));
      const { slices, map, fault } = await subject.host.move(
        request(target, pieces, { granule: STEP, slice: 2 * STEP, run }),
      );
      expect(fault).to.equal(null);
      expect([...map]).to.deep.equal([0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
      expect(slices.map(({ taken }) => taken)).to.deep.equal([2 * STEP, STEP, 2 * STEP, 2 * STEP, STEP + 512]);
      const written = subject.content('slt');
      const parts = slices.map(({ start, taken }) => written.subarray(start, start + taken));
      expect(Buffer.concat(parts).equals(Buffer.concat([pattern(3 * STEP, 11), pattern(5 * STEP + 512, 12)]))).to.equal(
        true,
      );
    });

    it('refuses a target that is closed', async () => {
      const source = await subject.file('c1', pattern(512, 1));
      const target = await subject.file('c2', new Uint8Array(0));
      await target.close();
      expect(target.movable).to.equal(false);
      const answer = await subject.host.move(request(target, [piece(source, 0, 512, 0)])).then(
        ({ fault }) => fault?.error,
        (error) => error,
      );
      expect(answer.code).to.equal('closed');
    });
  });
}

describe('the addon', () => {
  it('is refused where it was built for another version, with what to do', () => {
    refuseOther(loadNative(), '/a/clone');
    for (const interfaceVersion of [undefined, INTERFACE_VERSION - 1, INTERFACE_VERSION + 1]) {
      expect(() => refuseOther({ interfaceVersion: interfaceVersion as number }, '/a/clone'))
        .to.throw(
          BlockError,
          /built for another version of Diskwright; build it with "npm run --prefix \/a\/clone build:native"/,
        )
        .with.property('code', 'unsupported');
    }
  });
});

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
