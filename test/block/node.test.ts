// A node's public methods over real drivers on a simulated disk: what is refused, what the base supplies, what a write leaves behind.

import { expect } from 'chai';
import { DirtyBitmap } from '../../src/block/bitmap.js';
import { needFormat } from '../../src/block/node/format.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import { PERM_ALL, Perm } from '../../src/block/types.js';
import { RangeLock } from '../../src/util/range-lock.js';
import { failureOf, makeBench, pattern, reopenUsed } from '../drivers/support.js';
import { MemoryNode } from '../jobs/memory-node.js';
import { contentOf, lateBench, nobody, openUsed, PASS_MS, Recorder, stateOf } from './support.js';

const SIZE = 8192;
const ZEROES = new Uint8Array(SIZE);

/** A raw image of `SIZE` patterned bytes. */
async function patterned(options: Parameters<typeof openUsed>[3] = {}) {
  const bench = makeBench();
  return { ...bench, node: await openUsed(bench, '/a', pattern(SIZE), options) };
}

describe('node: requests that are refused', () => {
  const calls: [string, (node: BlockNode, offset: number, length: number) => Promise<unknown>][] = [
    ['read', (node, offset, length) => node.read(offset, new Uint8Array(length))],
    ['readExtents', (node, offset, length) => node.readExtents([{ offset, length }], new Uint8Array(length))],
    ['write', (node, offset, length) => node.write(offset, new Uint8Array(length).fill(1))],
    ['writeZeroes', (node, offset, length) => node.writeZeroes(offset, length)],
    ['discard', (node, offset, length) => node.discard(offset, length)],
    ['blockStatus', (node, offset, length) => node.blockStatus(offset, length)],
  ];
  const ranges: [number, number][] = [
    [-1, 1],
    [-512, 512],
    [SIZE, 1],
    [SIZE - 1, 2],
    [0, SIZE + 1],
    [Number.MAX_SAFE_INTEGER, 512],
    [0.5, 512],
    [Number.NaN, 512],
    [Number.POSITIVE_INFINITY, 512],
  ];
  for (const [name, call] of calls) {
    for (const [offset, length] of ranges) {
      it(`${name} at ${offset} of ${length} bytes is out of bounds`, async () => {
        const { node, host } = await patterned();
        const error = await failureOf(call(node, offset, length));
        expect(error).to.include({ code: 'out-of-bounds', path: '/a' });
        expect(host.readFile('/a')).to.deep.equal(pattern(SIZE));
      });
    }
  }

  for (const length of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    for (const name of ['writeZeroes', 'discard', 'blockStatus'] as const) {
      it(`${name} of ${length} bytes is out of bounds`, async () => {
        const { node } = await patterned();
        expect((await failureOf(node[name](0, length))).code).to.equal('out-of-bounds');
      });
    }
  }

  it('block status of nothing is out of bounds', async () => {
    const { node } = await patterned();
    expect((await failureOf(node.blockStatus(0, 0))).code).to.equal('out-of-bounds');
  });

  const lists: [string, [number, number][], number, string][] = [
    [
      'overlap',
      [
        [0, 1024],
        [512, 512],
      ],
      1536,
      'out-of-bounds',
    ],
    [
      'descend',
      [
        [1024, 512],
        [0, 512],
      ],
      1024,
      'out-of-bounds',
    ],
    [
      'hold more than the buffer',
      [
        [0, 512],
        [1024, 512],
      ],
      1023,
      'invalid-argument',
    ],
    [
      'hold less than the buffer',
      [
        [0, 512],
        [1024, 512],
      ],
      1025,
      'invalid-argument',
    ],
    [
      'leave the node',
      [
        [0, 512],
        [SIZE, 512],
      ],
      1024,
      'out-of-bounds',
    ],
    [
      'are fractions',
      [
        [0, 0.5],
        [1, 0.5],
      ],
      1,
      'out-of-bounds',
    ],
    [
      'have a negative length',
      [
        [0, 512],
        [1024, -512],
      ],
      0,
      'out-of-bounds',
    ],
  ];
  for (const [what, list, bytes, code] of lists) {
    it(`extents that ${what}`, async () => {
      const { node, host } = await patterned();
      const extents = list.map(([offset, length]) => ({ offset, length }));
      const buffer = new Uint8Array(bytes);
      expect((await failureOf(node.readExtents(extents, buffer))).code).to.equal(code);
      expect((await failureOf(node.writeExtents(extents, buffer))).code).to.equal(code);
      expect(host.readFile('/a')).to.deep.equal(pattern(SIZE));
    });
  }

  const changes: [string, (node: BlockNode) => Promise<unknown>][] = [
    ['write', (node) => node.write(0, new Uint8Array(512))],
    ['write of nothing', (node) => node.write(0, new Uint8Array(0))],
    ['writeExtents', (node) => node.writeExtents([], new Uint8Array(0))],
    ['writeZeroes', (node) => node.writeZeroes(0, 512)],
    ['discard', (node) => node.discard(0, 512)],
    ['truncate', (node) => node.truncate(512)],
    ['changeBackingFile', (node) => needFormat(node).changeBackingFile(null, null)],
    ['makeEmpty', (node) => node.makeEmpty()],
  ];
  for (const [name, change] of changes) {
    it(`${name} on a read-only node`, async () => {
      const { node, host } = await patterned({ readOnly: true });
      expect(await failureOf(change(node))).to.include({ code: 'read-only', path: '/a' });
      expect(host.readFile('/a')).to.deep.equal(pattern(SIZE));
    });
  }

  const afterwards: typeof changes = [
    ...changes,
    ['read', (node) => node.read(0, new Uint8Array(512))],
    ['readExtents of nothing', (node) => node.readExtents([], new Uint8Array(0))],
    ['blockStatus', (node) => node.blockStatus(0, 512)],
    ['flush', (node) => node.flush()],
    ['attach', async (node) => node.attach(nobody, 'root', 0, PERM_ALL)],
  ];
  for (const [name, call] of afterwards) {
    it(`${name} on a closed node`, async () => {
      const { node } = await patterned();
      await node.close();
      expect(await failureOf(call(node))).to.include({ code: 'closed', path: '/a' });
    });
  }

  it('what the driver does not have', async () => {
    const { node } = await patterned();
    expect(await failureOf(needFormat(node).changeBackingFile('/b', 'raw'))).to.include({
      code: 'unsupported',
      path: '/a',
    });
    expect((await failureOf(node.makeEmpty())).code).to.equal('unsupported');
    expect((await failureOf(node.write(0, new Uint8Array(512), { compressed: true }))).code).to.equal('unsupported');
  });

  for (const [size, code] of [
    [-1, 'invalid-argument'],
    [0.5, 'invalid-argument'],
    [Number.NaN, 'invalid-argument'],
    [2 ** 53, 'limit'],
  ] as const) {
    it(`truncate to ${size}`, async () => {
      const { node } = await patterned();
      expect((await failureOf(node.truncate(size))).code).to.equal(code);
      expect(node.length).to.equal(SIZE);
    });
  }
});

describe('node: requests', () => {
  it('of nothing succeed and change nothing', async () => {
    const { node, host } = await patterned({ detectZeroes: 'on' });
    const recorder = new Recorder();
    node.addObserver(recorder);
    node.serialiser = new RangeLock();
    for (const offset of [0, 7, SIZE]) {
      await node.read(offset, new Uint8Array(0));
      await node.write(offset, new Uint8Array(0));
      await node.writeZeroes(offset, 0);
      await node.discard(offset, 0);
    }
    await node.readExtents([], new Uint8Array(0));
    await node.writeExtents([], new Uint8Array(0));
    expect(recorder.seen).to.deep.equal([]);
    expect(host.readFile('/a')).to.deep.equal(pattern(SIZE));
  });

  it('of several extents read and write back to back', async () => {
    const { node, host } = await patterned();
    const extents = [
      { offset: 10, length: 5 },
      { offset: 15, length: 1 },
      { offset: 4000, length: 200 },
    ];
    const buffer = new Uint8Array(206);
    await node.readExtents(extents, buffer);
    const expected = pattern(SIZE);
    expect(buffer).to.deep.equal(Uint8Array.of(...expected.subarray(10, 16), ...expected.subarray(4000, 4200)));
    await node.writeExtents(extents, buffer.fill(9));
    expect(host.readFile('/a')).to.deep.equal(expected.fill(9, 10, 16).fill(9, 4000, 4200));
  });

  it('of several extents answer only when all parts are over, also where one fails', async () => {
    const bench = makeBench({
      manualClock: true,
      onRequest: (request) => {
        if (request.operation !== 'write') return undefined;
        return request.offset === 0 ? { errno: 'EIO' } : { delayMs: 100 };
      },
    });
    const node = await openUsed(bench, '/a', pattern(SIZE));
    const file = node.children.get('file')!.node;
    const extents = [
      { offset: 0, length: 512 },
      { offset: 1024, length: 512 },
    ];
    const writing = file.writeExtents(extents, new Uint8Array(1024).fill(1));
    expect(await stateOf(writing)).to.equal('pending');
    await bench.host.advance(PASS_MS);
    expect(await failureOf(writing)).to.include({ code: 'io', offset: 0, path: '/a' });
  });

  it('that must be durable are, when they are answered', async () => {
    const { node, host } = await patterned();
    await node.write(0, Uint8Array.of(1, 2, 3), { fua: true });
    expect(host.durableFile('/a').subarray(0, 3)).to.deep.equal(Uint8Array.of(1, 2, 3));
    await node.writeZeroes(0, 3, { fua: true });
    expect(host.durableFile('/a').subarray(0, 3)).to.deep.equal(new Uint8Array(3));
    await node.write(0, Uint8Array.of(1, 2, 3));
    expect(host.durableFile('/a').subarray(0, 3)).to.deep.equal(new Uint8Array(3));
  });

  it('that must be durable fail where the flush fails', async () => {
    const { node, host } = await patterned();
    host.setFaults({ rules: [{ operations: ['flush'] }] });
    expect((await failureOf(node.write(0, Uint8Array.of(1), { fua: true }))).code).to.equal('io');
    expect((await failureOf(node.write(0, new Uint8Array(0), { fua: true }))).code).to.equal('io');
  });

  it('pass an error of the disk on, with place and path', async () => {
    const { node, host } = await patterned();
    host.setFaults({ rules: [{ operations: ['write'], errno: 'ENOSPC' }, { operations: ['read'] }] });
    expect(await failureOf(node.write(512, new Uint8Array(512).fill(1)))).to.include({
      code: 'no-space',
      path: '/a',
      offset: 512,
      length: 512,
      errno: 'ENOSPC',
    });
    expect(await failureOf(node.read(1024, new Uint8Array(512)))).to.include({ code: 'io', path: '/a', offset: 1024 });
    expect(node.inFlight).to.equal(0);
  });

  it('scan for zeroes what they read, in whatever way', async () => {
    const { node } = await patterned();
    await node.writeZeroes(512, 512);
    for (const extents of [
      [{ offset: 0, length: 2048 }],
      [
        { offset: 0, length: 1024 },
        { offset: 1024, length: 1024 },
      ],
    ]) {
      const map = new Uint8Array(4).fill(7);
      await node.readExtents(extents, new Uint8Array(2048), { granule: 512, map });
      expect([...map]).to.deep.equal([0, 1, 0, 0]);
    }
  });
});

describe('node: detect-zeroes', () => {
  for (const [mode, discard, kind, hole] of [
    ['off', 'unmap', 'write of 4096', false],
    ['on', 'unmap', 'zero', false],
    ['on', 'ignore', 'zero', false],
    ['unmap', 'unmap', 'zero', true],
  ] as const) {
    it(`${mode} with discard=${discard} makes a write of zeroes ${kind === 'zero' ? 'zeroes' : 'a write'}`, async () => {
      const { node, host } = await patterned({ detectZeroes: mode, discard });
      const recorder = new Recorder();
      node.addObserver(recorder);
      await node.write(0, ZEROES.subarray(0, 4096));
      expect(recorder.seen).to.deep.equal(['before 0+4096', `${kind} 0+4096`]);
      expect([host.count('punchHole') > 0, host.count('zeroRange') > 0]).to.deep.equal([hole, mode === 'on']);
      expect(host.readFile('/a')).to.deep.equal(pattern(SIZE).fill(0, 0, 4096));
    });
  }

  it('takes the extents of one write one by one, and leaves what is not all zeroes', async () => {
    const { node } = await patterned({ detectZeroes: 'on' });
    const recorder = new Recorder();
    node.addObserver(recorder);
    const extents = [
      { offset: 0, length: 512 },
      { offset: 1024, length: 512 },
    ];
    await node.writeExtents(extents, ZEROES.subarray(0, 1024));
    await node.writeExtents(extents, Uint8Array.from(ZEROES.subarray(0, 1024)).fill(1, 1023));
    expect(recorder.seen).to.deep.equal([
      'before 0+512',
      'zero 0+512',
      'before 1024+512',
      'zero 1024+512',
      'before 0+512 1024+512',
      'write of 1024 0+512 1024+512',
    ]);
  });

  it('unmap cannot be had without discard=unmap', async () => {
    const bench = makeBench();
    const opening = openUsed(bench, '/a', pattern(SIZE), { detectZeroes: 'unmap', discard: 'ignore' });
    expect((await failureOf(opening)).code).to.equal('invalid-argument');
  });
});

describe('node: discard', () => {
  it('goes through with unmap', async () => {
    const { node, host } = await patterned();
    await node.discard(4096, 4096);
    expect(host.count('discard')).to.equal(1);
  });

  it('does nothing with ignore, and nobody hears of it', async () => {
    const { node, host } = await patterned({ discard: 'ignore' });
    const recorder = new Recorder();
    node.addObserver(recorder);
    await node.discard(0, SIZE);
    expect(recorder.seen).to.deep.equal([]);
    expect(host.count('discard')).to.equal(0);
    expect(host.readFile('/a')).to.deep.equal(pattern(SIZE));
  });

  it('with ignore, zeroes that may be unmapped are, as with qemu-nbd: it is discards that are ignored', async () => {
    const { node, host } = await patterned({ discard: 'ignore' });
    await node.writeZeroes(0, 4096, { mayUnmap: true });
    expect([host.count('punchHole'), host.count('zeroRange')]).to.deep.equal([1, 0]);
  });
});

describe('node: writes of zeroes', () => {
  const features = ['punchHole', 'zeroRange'] as const;

  it('are written out where the disk cannot make them', async () => {
    const bench = makeBench({ unsupported: features });
    const node = await openUsed(bench, '/a', pattern(3 << 20));
    await node.writeZeroes(100, (2 << 20) + 5, { mayUnmap: true });
    expect(Buffer.compare(bench.host.readFile('/a'), pattern(3 << 20).fill(0, 100, (2 << 20) + 105))).to.equal(0);
  });

  it('are not where that is not wanted', async () => {
    const bench = makeBench({ unsupported: features });
    const node = await openUsed(bench, '/a', pattern(SIZE));
    expect((await failureOf(node.writeZeroes(0, SIZE, { noFallback: true }))).code).to.equal('unsupported');
    expect(bench.host.readFile('/a')).to.deep.equal(pattern(SIZE));
  });
});

describe('node: observers', () => {
  it('see a write before and after it', async () => {
    const { node, host } = await patterned();
    const steps: string[] = [];
    node.addObserver({
      beforeWrite: async ([{ offset }]) => {
        steps.push(`before: ${host.readFile('/a')[offset]}`);
      },
      afterWrite: async ([{ offset }]) => {
        steps.push(`after: ${host.readFile('/a')[offset]}`);
      },
    });
    await node.write(3, Uint8Array.of(200));
    expect(steps).to.deep.equal([`before: ${pattern(4)[3]}`, 'after: 200']);
  });

  it('see each kind of change, in the order in which they came', async () => {
    const { node } = await patterned();
    const a = new Recorder();
    node.addObserver(a);
    await node.write(0, Uint8Array.of(1));
    await node.writeZeroes(512, 512);
    await node.discard(1024, 512);
    node.removeObserver(a);
    await node.write(0, Uint8Array.of(2));
    expect(a.seen).to.deep.equal([
      'before 0+1',
      'write of 1 0+1',
      'before 512+512',
      'zero 512+512',
      'before 1024+512',
      'discard 1024+512',
    ]);
  });

  it('that refuse fail the write before it happens; those asked earlier are told', async () => {
    const { node, host } = await patterned();
    const asked = new Recorder();
    const never = new Recorder();
    node.addObserver(asked);
    node.addObserver({ beforeWrite: () => Promise.reject(new Error('no')) });
    node.addObserver(never);
    const error = await node.write(0, Uint8Array.of(9)).catch((failure: Error) => failure.message);
    expect(error).to.equal('no');
    expect(asked.seen).to.deep.equal(['before 0+1', 'failed 0+1']);
    expect(never.seen).to.deep.equal([]);
    expect(host.readFile('/a')).to.deep.equal(pattern(SIZE));
    expect(node.inFlight).to.equal(0);
  });

  it('are told of a write that failed, once', async () => {
    const { node, host } = await patterned();
    const recorder = new Recorder();
    node.addObserver(recorder);
    host.setFaults({ rules: [{ operations: ['write'] }] });
    expect((await failureOf(node.write(0, Uint8Array.of(9)))).code).to.equal('io');
    expect(recorder.seen).to.deep.equal(['before 0+1', 'failed 0+1']);
  });

  it('that fail afterwards fail the write, and the others are told all the same', async () => {
    const { node, host } = await patterned();
    const recorder = new Recorder();
    node.addObserver({ afterWrite: () => Promise.reject(new Error('late')) });
    node.addObserver(recorder);
    const error = await node.write(0, Uint8Array.of(9)).catch((failure: Error) => failure.message);
    expect(error).to.equal('late');
    expect(recorder.seen).to.deep.equal(['before 0+1', 'write of 1 0+1']);
    expect(host.readFile('/a')[0]).to.equal(9);
  });

  it('that come while a write waits for the serialiser see it', async () => {
    const { node } = await patterned();
    const lock = new RangeLock();
    node.serialiser = lock;
    const held = await lock.acquire(0, 512);
    const writing = node.write(0, Uint8Array.of(1));
    expect(await stateOf(writing)).to.equal('pending');
    const recorder = new Recorder();
    node.addObserver(recorder);
    lock.release(held);
    await writing;
    expect(recorder.seen).to.deep.equal(['before 0+1', 'write of 1 0+1']);
  });
});

describe('node: serialiser', () => {
  async function serialised() {
    const made = await patterned();
    const lock = new RangeLock();
    made.node.serialiser = lock;
    return { ...made, lock, held: await lock.acquire(1024, 2048) };
  }

  it('holds up the changes that overlap what a job holds, and no others', async () => {
    const { node, lock, held } = await serialised();
    const waiting = [node.write(2047, Uint8Array.of(1, 2)), node.writeZeroes(1024, 10), node.discard(1500, 10)];
    await node.write(0, new Uint8Array(1024).fill(1));
    await node.writeZeroes(2049, 10);
    await node.read(1024, new Uint8Array(1024));
    for (const request of waiting) expect(await stateOf(request)).to.equal('pending');
    lock.release(held);
    await Promise.all(waiting);
    expect(lock.size).to.equal(0);
  });

  it('lets the holder itself through', async () => {
    const { node } = await serialised();
    await node.write(1024, Uint8Array.of(1), { serialised: true });
    await node.writeZeroes(1024, 512, { serialised: true });
    node.detectZeroes = 'on';
    await node.write(1024, new Uint8Array(512), { serialised: true });
  });

  it('is let go of after a failure', async () => {
    const { node, lock, held, host } = await serialised();
    lock.release(held);
    host.setFaults({ rules: [{ operations: ['write'] }] });
    expect((await failureOf(node.write(0, Uint8Array.of(1)))).code).to.equal('io');
    expect(lock.size).to.equal(0);
  });

  it('counts who waits for it as in flight', async () => {
    const { node, lock, held } = await serialised();
    const writing = node.write(1024, Uint8Array.of(1));
    const idle = node.idle();
    expect(await stateOf(idle)).to.equal('pending');
    lock.release(held);
    await Promise.all([writing, idle]);
  });
});

describe('node: requests in flight', () => {
  for (const [what, operation, start] of [
    ['write', 'write', (node: BlockNode) => node.write(0, Uint8Array.of(1))],
    ['flush', 'flush', (node: BlockNode) => node.flush()],
    ['truncate', 'truncate', (node: BlockNode) => node.truncate(512)],
    ['block status', 'seek', (node: BlockNode) => node.blockStatus(0, 512)],
    [
      'read of several extents',
      'read',
      (node: BlockNode) =>
        node.readExtents(
          [
            { offset: 0, length: 1 },
            { offset: 9, length: 1 },
          ],
          new Uint8Array(2),
        ),
    ],
  ] as const) {
    it(`idle waits for a ${what}`, async () => {
      const bench = lateBench([operation]);
      const node = await openUsed(bench, '/a', pattern(SIZE));
      const request = start(node);
      expect(node.inFlight).to.equal(1);
      const idle = node.idle();
      expect(await stateOf(idle)).to.equal('pending');
      await bench.host.advance(PASS_MS);
      await Promise.all([request, idle]);
      expect(node.inFlight).to.equal(0);
    });
  }

  it('idle does not wait for what others send to a node below', async () => {
    const bench = lateBench(['write']);
    const node = await openUsed(bench, '/a', pattern(SIZE));
    const foreign = node.children.get('file')!.node.write(0, Uint8Array.of(1));
    expect(await stateOf(node.idle())).to.equal('resolved');
    await bench.host.advance(PASS_MS);
    await foreign;
  });

  it('idle comes back where there is nothing', async () => {
    const { node } = await patterned();
    await node.idle();
  });
});

describe('node: dirty bitmaps', () => {
  async function withBitmap(options: Partial<ConstructorParameters<typeof DirtyBitmap>[0]> = {}) {
    const made = await patterned();
    const bitmap = new DirtyBitmap({ name: 'b', size: SIZE, granularity: 512, ...options });
    made.node.bitmaps.set('b', bitmap);
    return { ...made, bitmap };
  }
  function dirty(bitmap: DirtyBitmap): string[] {
    const runs: string[] = [];
    for (let run = bitmap.nextDirtyRun(0); run !== undefined; run = bitmap.nextDirtyRun(run.offset + run.length)) {
      runs.push(`${run.offset}+${run.length}`);
    }
    return runs;
  }

  it('record each kind of change, and nothing else', async () => {
    const { node, bitmap } = await withBitmap();
    await node.read(0, new Uint8Array(SIZE));
    await node.flush();
    expect(dirty(bitmap)).to.deep.equal([]);
    await node.write(511, Uint8Array.of(1, 2));
    await node.writeZeroes(2048, 1);
    await node.discard(4096, 512);
    await node.writeExtents(
      [
        { offset: 6144, length: 1 },
        { offset: 7168, length: 1 },
      ],
      Uint8Array.of(1, 2),
    );
    expect(dirty(bitmap)).to.deep.equal(['0+1024', '2048+512', '4096+512', '6144+512', '7168+512']);
  });

  it('record a write of zeroes that was detected', async () => {
    const { node, bitmap } = await withBitmap();
    node.detectZeroes = 'on';
    await node.write(512, new Uint8Array(512));
    expect(dirty(bitmap)).to.deep.equal(['512+512']);
  });

  it('do not record a discard that is ignored', async () => {
    const { node, bitmap } = await withBitmap();
    node.discardMode = 'ignore';
    await node.discard(0, SIZE);
    expect(dirty(bitmap)).to.deep.equal([]);
  });

  it('record a write that failed: part of it may have reached the disk', async () => {
    const { node, bitmap, host } = await withBitmap();
    host.setFaults({ rules: [{ operations: ['write'] }] });
    expect((await failureOf(node.write(0, Uint8Array.of(1)))).code).to.equal('io');
    expect(dirty(bitmap)).to.deep.equal(['0+512']);
  });

  it('do not record what is refused at once', async () => {
    const { node, bitmap } = await withBitmap();
    expect((await failureOf(node.write(SIZE, Uint8Array.of(1)))).code).to.equal('out-of-bounds');
    expect(dirty(bitmap)).to.deep.equal([]);
  });

  it('lose no mark to a job that cleans them while the write is under way', async () => {
    const bench = lateBench(['write']);
    const node = await openUsed(bench, '/a', pattern(SIZE));
    const bitmap = new DirtyBitmap({ size: SIZE, granularity: 512 });
    node.bitmaps.set('b', bitmap);
    const writing = node.write(0, Uint8Array.of(1));
    expect(dirty(bitmap)).to.deep.equal(['0+512']);
    bitmap.clear();
    await bench.host.advance(PASS_MS);
    await writing;
    expect(dirty(bitmap)).to.deep.equal(['0+512']);
  });

  it('that came while a write was under way have it', async () => {
    const bench = lateBench(['write']);
    const node = await openUsed(bench, '/a', pattern(SIZE));
    const writing = node.write(0, Uint8Array.of(1));
    const bitmap = new DirtyBitmap({ size: SIZE, granularity: 512 });
    node.bitmaps.set('b', bitmap);
    await bench.host.advance(PASS_MS);
    await writing;
    expect(dirty(bitmap)).to.deep.equal(['0+512']);
  });

  it('that cannot record fail the write before it happens', async () => {
    const { node, bitmap, host } = await withBitmap({ memoryLimit: 0 });
    expect((await failureOf(node.write(0, Uint8Array.of(200)))).code).to.equal('limit');
    expect((await failureOf(node.writeZeroes(512, 512))).code).to.equal('limit');
    expect((await failureOf(node.discard(512, 512))).code).to.equal('limit');
    expect(host.readFile('/a')).to.deep.equal(pattern(SIZE));
    expect(dirty(bitmap)).to.deep.equal([]);
    expect(node.inFlight).to.equal(0);
    await node.idle();
  });

  it('that are full do not fail a write whose mark was taken away meanwhile', async () => {
    const bench = lateBench(['write']);
    const size = 2 ** 40;
    const node = await openNode(bench.graph, { driver: 'null-co', size, 'latency-ns': 1_000_000 });
    // Room for the paths to one end of a run.
    const bitmap = new DirtyBitmap({ size, granularity: 512, memoryLimit: 25_000 });
    node.bitmaps.set('b', bitmap);
    const writing = node.write(0, Uint8Array.of(1));
    bitmap.clear();
    bitmap.set(2 ** 39, 512);
    expect(() => bitmap.set(0, 512))
      .to.throw()
      .with.property('code', 'limit');
    await bench.host.advance(PASS_MS);
    await writing;
    expect([bitmap.get(0), bitmap.get(2 ** 39)]).to.deep.equal([true, true]);
  });

  it('follow the size, which changes after a write that is under way at what is cut off', async () => {
    const bench = lateBench(['write']);
    const node = await openUsed(bench, '/a', pattern(SIZE));
    const bitmap = new DirtyBitmap({ size: SIZE, granularity: 512 });
    node.bitmaps.set('b', bitmap);
    const writing = node.write(4000, new Uint8Array(1000).fill(1));
    const cutting = node.truncate(4096);
    await bench.host.advance(PASS_MS);
    await Promise.all([writing, cutting]);
    expect(bitmap.size).to.equal(4096);
    expect(dirty(bitmap)).to.deep.equal(['3584+512']);
    await node.truncate(SIZE);
    expect(dirty(bitmap)).to.deep.equal(['3584+512']);
  });

  it('do not follow a change of size that failed', async () => {
    const { node, bitmap, host } = await withBitmap();
    host.setFaults({ rules: [{ operations: ['truncate'], errno: 'ENOSPC' }] });
    expect((await failureOf(node.truncate(2 * SIZE))).code).to.equal('no-space');
    expect([node.length, bitmap.size]).to.deep.equal([SIZE, SIZE]);
  });

  it('are all dirty after the layer was emptied', async () => {
    const { graph } = makeBench();
    const node = new MemoryNode(graph, { name: 'm', size: SIZE });
    const bitmap = new DirtyBitmap({ size: SIZE, granularity: 512 });
    node.bitmaps.set('b', bitmap);
    await node.makeEmpty();
    expect(dirty(bitmap)).to.deep.equal([`0+${SIZE}`]);
  });
});

describe('node: reopen', () => {
  it('to read-only flushes first, takes the file along, and back again', async () => {
    const { node, host } = await patterned();
    await node.write(0, Uint8Array.of(99));
    await reopenUsed(node, true);
    expect(host.durableFile('/a')[0]).to.equal(99);
    expect([
      node.readOnly,
      node.children.get('file')!.node.readOnly,
      node.children.get('file')!.node.hostFile()!.writable,
    ]).to.deep.equal([true, true, false]);
    expect((await failureOf(node.write(0, Uint8Array.of(1)))).code).to.equal('read-only');
    await reopenUsed(node, false);
    await node.write(0, Uint8Array.of(1));
    expect((await contentOf(node, 0, 1))[0]).to.equal(1);
  });

  it('to what it is does nothing', async () => {
    const { node, host } = await patterned();
    const before = host.requests;
    await node.reopen(false);
    expect(host.requests).to.equal(before);
  });

  it('that fails leaves all as it was', async () => {
    const { node, host } = await patterned({ readOnly: true });
    host.setFaults({ rules: [{ operations: ['open'], errno: 'EACCES' }] });
    expect((await failureOf(node.reopen(false))).code).to.equal('permission');
    expect([node.readOnly, node.children.get('file')!.node.readOnly]).to.deep.equal([true, true]);
    expect(await contentOf(node)).to.deep.equal(Buffer.from(pattern(SIZE)));
  });

  it('that fails above leaves the file read-only', async () => {
    const { graph, node: file } = await patterned({ readOnly: true });
    class Stubborn extends MemoryNode {
      protected override async doReopen(): Promise<void> {
        throw this.unsupported('writing', 0, 0);
      }
    }
    const top = new Stubborn(graph, { name: 'top', size: SIZE, readOnly: true });
    top.setChild('file', file, 'image', { perm: Perm.CONSISTENT_READ, shared: PERM_ALL });
    expect((await failureOf(top.reopen(false))).code).to.equal('unsupported');
    expect([top.readOnly, file.readOnly, file.children.get('file')!.node.readOnly]).to.deep.equal([true, true, true]);
  });

  it('waits for what is under way', async () => {
    const bench = lateBench(['write']);
    const node = await openUsed(bench, '/a', pattern(SIZE));
    const writing = node.write(0, Uint8Array.of(1));
    const reopening = reopenUsed(node, true);
    expect(await stateOf(reopening)).to.equal('pending');
    await bench.host.advance(PASS_MS);
    await Promise.all([writing, reopening]);
    expect(bench.host.durableFile('/a')[0]).to.equal(1);
  });
});

describe('node: close', () => {
  it('answers what is under way and takes nothing new', async () => {
    const bench = lateBench(['write', 'read']);
    const node = await openUsed(bench, '/a', pattern(SIZE));
    const file = node.children.get('file')!.node;
    const pending = [
      node.write(0, Uint8Array.of(7)),
      node.read(512, new Uint8Array(1)),
      node.write(1024, Uint8Array.of(8), { fua: true }),
    ];
    const closing = node.close();
    expect(await stateOf(closing)).to.equal('pending');
    expect((await failureOf(node.write(0, Uint8Array.of(1)))).code).to.equal('closed');
    expect((await failureOf(node.read(0, new Uint8Array(1)))).code).to.equal('closed');
    await bench.host.advance(PASS_MS);
    await Promise.all([...pending, closing]);
    expect([node.closed, file.closed]).to.deep.equal([true, true]);
    const durable = bench.host.durableFile('/a');
    expect([durable[0], durable[1024]]).to.deep.equal([7, 8]);
  });

  it('twice at once closes once', async () => {
    const bench = makeBench({ log: true });
    const node = await openUsed(bench, '/a', pattern(SIZE));
    await Promise.all([node.close(), node.close()]);
    await node.close();
    expect(bench.host.count('flush')).to.equal(1);
  });

  it('lets go of the children though the driver fails, and says so', async () => {
    const { graph, host } = makeBench();
    class Sour extends MemoryNode {
      protected override async doClose(): Promise<void> {
        throw this.unsupported('closing', 0, 0);
      }
    }
    host.writeFile('/a', pattern(SIZE));
    const file = await openNode(graph, { driver: 'file', filename: '/a' });
    const top = new Sour(graph, { name: 'top', size: SIZE });
    top.setChild('file', file, 'image', { perm: Perm.CONSISTENT_READ, shared: PERM_ALL });
    expect((await failureOf(graph.release(top))).code).to.equal('unsupported');
    expect([top.closed, file.closed, graph.nodes.size]).to.deep.equal([true, true, 0]);
  });

  it('says that the last flush failed, though the file is closed', async () => {
    const { node, host, graph } = await patterned();
    const file = node.children.get('file')!.node;
    host.setFaults({ rules: [{ operations: ['flush'] }] });
    expect((await failureOf(node.close())).code).to.equal('io');
    expect([node.closed, file.closed]).to.deep.equal([true, true]);
    host.setFaults({});
    await (await openUsed({ host, graph, warnings: [] }, '/a')).close();
  });
});
