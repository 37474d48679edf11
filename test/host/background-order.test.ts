// Copy steps of jobs among other steps: who is idle takes up what may begin, and steps that somebody waits for go first.
import { expect } from 'chai';
import { type HostFile, MOVE_SLICE_BYTES, type Moved, type MovePiece } from '../../src/host/host.js';
import { overEngines, pattern } from './engines.js';

const MIB = 1 << 20;
const CLUSTER = 65536;

overEngines('steps of jobs among others', (bench) => {
  let source: HostFile;
  const data = pattern(MIB, 7);
  const plain = (to: number): MovePiece => ({ file: source, offset: 0, length: MIB, to });
  const move = (target: HostFile, piece: MovePiece, background = true): Promise<Moved> =>
    bench.host.move({
      pieces: [piece],
      bytes: piece.length,
      target,
      ...{ run: null, granule: 0, slice: MOVE_SLICE_BYTES, background },
    });
  const contentOf = async (target: HostFile, offset: number): Promise<Buffer> => {
    const buffer = Buffer.alloc(MIB);
    await target.read(offset, buffer);
    return buffer;
  };
  const allWell = async (moves: readonly Promise<Moved>[]): Promise<void> => {
    for (const { fault } of await Promise.all(moves)) expect(fault).to.equal(null);
  };

  before(async () => {
    source = await bench.open('source');
    await source.write(0, data);
  });
  after(() => source.close());

  it('begin with idle workers where as many as may be at work stand still', async () => {
    const dead = await bench.open('dead');
    const target = await bench.open('target');
    // All workers are there, and have nothing to do.
    await allWell(Array.from({ length: 16 }, (_, i) => move(target, plain(i * MIB))));
    bench.host.setFaults({ heldSteps: 4 });
    const held = Array.from({ length: 4 }, (_, i) => move(dead, plain(i * MIB)));
    await allWell([move(target, plain(16 * MIB))]);
    expect((await contentOf(target, 16 * MIB)).equals(data)).to.equal(true);
    bench.host.setFaults({});
    await allWell(held);
    await Promise.all([dead.close(), target.close()]);
  });

  it('let a step pass that somebody waits for', async () => {
    const target = await bench.open('passed');
    bench.host.setFaults({ heldSteps: 100 });
    const held = Array.from({ length: 6 }, (_, i) => move(target, plain(i * MIB)));
    await allWell([move(target, plain(6 * MIB), false)]);
    expect((await contentOf(target, 6 * MIB)).equals(data)).to.equal(true);
    for (let i = 0; i < 6; i++) {
      expect((await contentOf(target, i * MIB)).equals(Buffer.alloc(MIB)), `step ${i} has not begun`).to.equal(true);
    }
    bench.host.setFaults({});
    await allWell(held);
    for (let i = 0; i < 7; i++) expect((await contentOf(target, i * MIB)).equals(data)).to.equal(true);
    await target.close();
  });

  it('do not take the codec workers where they decompress', async () => {
    const target = await bench.open('unpacked');
    const packed = await bench.open('packed');
    const stored = bench.host.memory.allocate(2 * CLUSTER);
    const length = await bench.host.codecs.compress('zlib', data.subarray(0, CLUSTER), stored);
    await packed.write(0, stored.subarray(0, length));
    const packing = { type: 'zlib', stored: length, clusterBytes: CLUSTER, lead: 0 } as const;
    const piece: MovePiece = { file: packed, offset: 0, length: CLUSTER, to: 0, packing };
    bench.host.setFaults({ heldSteps: 8 });
    let answered = 0;
    const held = Array.from({ length: 4 }, () => move(target, piece));
    for (const one of held) void one.then(() => answered++);
    const out = bench.host.memory.allocate(CLUSTER);
    for (let i = 0; i < 20; i++) await bench.host.codecs.decompress('zlib', stored.subarray(0, length), out);
    expect(answered, 'steps that are held').to.equal(0);
    bench.host.setFaults({});
    await allWell(held);
    expect((await contentOf(target, 0)).subarray(0, CLUSTER).equals(data.subarray(0, CLUSTER))).to.equal(true);
    await Promise.all([target.close(), packed.close()]);
  });
});
