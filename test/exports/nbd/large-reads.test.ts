// Large reads of a raw image: their pages are sent without a copy (`Link.pushFile`), a few replies of a connection at a time, the others wait.

import { readdirSync, readlinkSync, truncateSync } from 'node:fs';
import { expect } from 'chai';
import { rootOf } from '../../../src/block/device.js';
import { deviceOf, type Image } from '../../../src/library/image.js';
import { Chunk, Command } from '../../../src/wire/nbd/constants.js';
import { pagesCanBeHeld } from '../../support/held-pages.js';
import type { RawClient, RawDialect } from '../../support/nbd-raw.js';
import { MIB, pattern, Stage, until } from './support.js';

const KIB = 1024;
const SIZE = 24 * MIB;

const pipes = () =>
  readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith('pipe:');
    } catch {
      return false;
    }
  }).length;

describe('nbd server: large reads', () => {
  const content = pattern(SIZE, 3);
  let stage: Stage;
  let image: Image;
  let able: boolean;

  before(async () => {
    able = await pagesCanBeHeld();
  });
  beforeEach(async () => {
    stage = new Stage();
    image = await stage.image('disk', { size: SIZE, format: 'raw' });
    await image.write(0, content);
  });
  afterEach(() => stage.close());

  const askAll = (guest: RawClient, asked: readonly [offset: number, length: number][]) => {
    for (const [cookie, [offset, length]] of asked.entries()) {
      guest.request({ command: Command.read, offset, length, cookie: BigInt(cookie) });
    }
  };

  /** Takes the replies to `asked`, in whatever order they come, and compares their bytes. */
  async function take(guest: RawClient, asked: readonly [offset: number, length: number][], expected = content) {
    const left = new Map(asked.map(([offset, length], cookie) => [BigInt(cookie), { offset, length }]));
    const simple = guest.dialect === 'simple';
    while (left.size > 0) {
      // A simple reply does not say how long it is: all are of one length.
      const reply = await guest.reply(asked[0][1]);
      const { offset, length } = left.get(reply.cookie)!;
      left.delete(reply.cookie);
      expect(reply.error).to.equal(0);
      expect(reply.done).to.equal(true);
      const data = simple ? reply.data : reply.data.subarray(8);
      if (!simple) {
        expect(reply.type).to.equal(Chunk.offsetData);
        expect(reply.data.readBigUInt64BE(0)).to.equal(BigInt(offset));
      }
      expect(data.equals(expected.subarray(offset, offset + length)), `${length} bytes at ${offset}`).to.equal(true);
    }
  }

  /** A client that asks for all of the disk and reads nothing; waits until the server sends no more. */
  async function lazy(count = 24, dialect: RawDialect = 'structured') {
    const guest = await stage.guest(dialect);
    guest.socket.pause();
    const asked = Array.from({ length: count }, (_, i): [number, number] => [i * MIB, MIB]);
    askAll(guest, asked);
    await until(() => guest.socket.writableLength === 0, 'it was sent');
    return { guest, asked };
  }

  for (const dialect of ['simple', 'structured', 'extended'] as const) {
    it(`many at once, ${dialect}, among small ones and writes`, async () => {
      const server = await stage.serve(image);
      const guest = await stage.guest(dialect);
      const lengths = dialect === 'simple' ? [200_000] : [64 * KIB, MIB, 4096, 2 * MIB + 511, 65_537, 700_000, 5 * MIB];
      const asked = Array.from({ length: 60 }, (_, i): [number, number] => {
        const length = lengths[i % lengths.length];
        return [(i * 1_234_567) % (SIZE - length), length];
      });
      askAll(guest, asked);
      await take(guest, asked);
      expect(await guest.command({ command: Command.write, offset: 3 * MIB, payload: pattern(MIB, 99) })).to.equal(0);
      expect(await guest.command({ command: Command.flush })).to.equal(0);
      expect((await guest.readData(3 * MIB, MIB)).equals(pattern(MIB, 99))).to.equal(true);
      await until(() => server.bytesInFlight === 0, 'everything is given back');
    });
  }

  it('a client that does not read holds up nobody, and gets what it asked for when it reads', async () => {
    const before = pipes();
    const server = await stage.serve(image);
    const { guest, asked } = await lazy();
    await until(() => server.bytesInFlight > 20 * MIB, 'the requests have come');
    expect(pipes(), 'where pages can be held, they are').to.satisfy((now: number) => now > before || !able);
    const other = await stage.guest();
    expect((await other.readData(5 * MIB, MIB)).equals(content.subarray(5 * MIB, 6 * MIB))).to.equal(true);
    expect(await other.command({ command: Command.write, offset: 0, payload: content.subarray(0, MIB) })).to.equal(0);
    expect(await other.command({ command: Command.flush })).to.equal(0);
    guest.socket.resume();
    await take(guest, asked);
  });

  it('nor does it hold up a drained section; reads that wait are located after it', async () => {
    const server = await stage.serve(image);
    const { guest, asked } = await lazy();
    await until(() => server.bytesInFlight > 20 * MIB, 'the requests have come');
    const { node } = rootOf(deviceOf(image));
    await node.graph.drained([node], async () => {
      guest.socket.resume();
      // What is held comes; what is not begun does not.
      await guest.read(MIB);
      for (let turns = 0; turns < 20; turns++) await new Promise(setImmediate);
      expect(server.bytesInFlight).to.be.above(8 * MIB);
    });
    await until(() => server.bytesInFlight === 0, 'everything is sent');
    expect(asked.length).to.equal(24);
  });

  it('a client that leaves in the middle leaves nothing behind', async () => {
    const before = pipes();
    const server = await stage.serve(image);
    const { guest } = await lazy();
    await until(() => server.bytesInFlight > 20 * MIB, 'the requests have come');
    guest.close();
    await until(() => server.connectionCount === 0, 'it is gone');
    expect(server.bytesInFlight).to.equal(0);
    expect(pipes()).to.equal(before);
  });

  it('all that was asked for before DISC is answered', async () => {
    await stage.serve(image);
    const { guest, asked } = await lazy(12);
    guest.request({ command: Command.disconnect });
    guest.socket.resume();
    await take(guest, asked);
    expect(await guest.rest()).to.have.length(0);
  });

  it('a server that ends answers what has come', async () => {
    const server = await stage.serve(image);
    const { guest, asked } = await lazy(6);
    await until(() => server.bytesInFlight > 5 * MIB, 'the requests have come');
    const closed = server.close();
    guest.socket.resume();
    await take(guest, asked);
    await closed;
  });

  it('what lies behind the end of the file reads as zeroes', async () => {
    await stage.serve(image);
    const guest = await stage.guest('structured');
    truncateSync(stage.path('disk'), 4 * MIB + 300);
    const expected = Buffer.concat([content.subarray(0, 4 * MIB + 300), Buffer.alloc(SIZE - 4 * MIB - 300)]);
    for (const offset of [3 * MIB, 4 * MIB, 5 * MIB]) {
      const found = await guest.readData(offset, MIB);
      expect(found.equals(expected.subarray(offset, offset + MIB)), `${offset}`).to.equal(true);
    }
  });

  it('each read is counted once', async () => {
    await stage.serve(image);
    const { stats } = deviceOf(image);
    const [operations, bytes] = [stats.readOperations, stats.readBytes];
    const { guest, asked } = await lazy(10);
    guest.socket.resume();
    await take(guest, asked);
    expect(stats.readOperations - operations).to.equal(10);
    expect(stats.readBytes - bytes).to.equal(10 * MIB);
  });

  it('only what nobody else changes is held: the own file of a raw disk, or one that is open for reading', async () => {
    const device = deviceOf(image);
    const own = rootOf(device).node.hostFile()!;
    const other = await stage.host.open(stage.path('disk'), { writable: true });
    const reader = await stage.host.open(stage.path('disk'), { writable: false });
    const guard = { release: () => {} };
    expect([own, other, reader].map((file) => device.mayHold(file, null))).to.deep.equal([true, false, true]);
    expect([own, other, reader].map((file) => device.mayHold(file, guard))).to.deep.equal([false, false, false]);
    await other.close();
    await reader.close();
  });

  it('a qcow2 reply never shows a cluster that was freed and used again', async () => {
    const size = 4 * MIB;
    const disk = await stage.image('disk.qcow2', { size, format: 'qcow2', discard: 'unmap' });
    await disk.write(0, content.subarray(0, size));
    await disk.flush();
    const server = await stage.serve(disk);
    const guest = await stage.guest('structured');
    guest.socket.pause();
    const asked = [0, 1, 2, 3].map((i): [number, number] => [i * MIB, MIB]);
    askAll(guest, asked);
    await until(() => server.bytesInFlight >= 4 * MIB, 'the requests have come');
    const other = await stage.guest();
    for (let at = 0; at < size; at += MIB) {
      expect(await other.command({ command: Command.trim, offset: at, length: MIB })).to.equal(0);
    }
    expect(await other.command({ command: Command.flush })).to.equal(0);
    // In another order, so that freed clusters hold other parts of the disk.
    for (let at = size - 65536; at >= 0; at -= 65536) {
      const payload = Buffer.alloc(65536, 0xbb);
      expect(await other.command({ command: Command.write, offset: at, payload })).to.equal(0);
    }
    guest.socket.resume();
    await take(guest, asked);
  });
});
