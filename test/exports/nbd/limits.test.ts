// Clients that are slow, silent, hostile or gone: they take what is theirs and no more, and nobody else is harmed.

import { expect } from 'chai';
import { OUTBOX_BLOCK_BYTES } from '../../../src/exports/nbd/outbox.js';
import type { NbdServer } from '../../../src/exports/nbd/server.js';
import { deviceOf, type Image } from '../../../src/library/image.js';
import { BlockError } from '../../../src/util/errors.js';
import { Command, NbdError } from '../../../src/wire/nbd/constants.js';
import type { RawClient } from '../../support/nbd-raw.js';
import { addInnerBitmap, MIB, pattern, Stage, until } from './support.js';

const SIZE = 16 * MIB;

/** Lets requests of a device in when the test says so. */
class Gate {
  #waiting: (() => void)[] = [];
  open = false;

  get waiting(): number {
    return this.#waiting.length;
  }
  admit(): Promise<void> | undefined {
    return this.open ? undefined : new Promise((resolve) => this.#waiting.push(resolve));
  }
  release(): void {
    this.open = true;
    for (const go of this.#waiting.splice(0)) go();
  }
  close(): void {
    this.release();
  }
}

describe('nbd server: limits', () => {
  let stage: Stage;
  let image: Image;

  beforeEach(async () => {
    stage = new Stage();
    image = await stage.image('disk', { size: SIZE, format: 'raw' });
  });
  afterEach(() => stage.close());

  const read = (guest: RawClient, length: number, cookie = 1n) =>
    guest.header({ command: Command.read, offset: 0, length, cookie });
  /** Somebody else is served. */
  const fine = async () => {
    const guest = await stage.guest();
    expect(await guest.readData(SIZE - 4096, 4096)).to.deep.equal(Buffer.alloc(4096));
    guest.close();
  };

  it('lets further clients wait for their turn', async () => {
    const server = await stage.serve(image, {}, { maxConnections: 2 });
    const first = await stage.guest();
    await stage.guest();
    const third = await stage.client();
    let served = false;
    const going = third.go().then(() => {
      served = true;
    });
    await until(() => server.waitingCount === 1, 'it waits');
    expect(served).to.equal(false);
    expect(server.connectionCount).to.equal(2);
    first.request({ command: Command.disconnect });
    await going;
    expect(server.connectionCount).to.equal(2);
  });

  it('holds back a client that does not read, and serves it when it does', async () => {
    const budget = { connectionBytes: 8 * MIB, totalBytes: 64 * MIB, guaranteedBytes: MIB };
    const server = await stage.serve(image, {}, { budget });
    const lazy = await stage.guest();
    lazy.socket.pause();
    const count = 300;
    for (let i = 0; i < count; i++) lazy.send(read(lazy, MIB, BigInt(i)));
    await until(() => server.bytesInFlight > 7 * MIB, 'the budget is used up');
    for (let i = 0; i < 5; i++) {
      await fine();
      expect(server.bytesInFlight).to.be.at.most(8 * MIB + 3 * 4096 * 4);
    }
    lazy.socket.resume();
    const cookies = new Set<bigint>();
    for (let i = 0; i < count; i++) cookies.add((await lazy.reply(MIB)).cookie);
    expect(cookies.size).to.equal(count);
    await until(() => server.bytesInFlight === 0, 'all is given back');
  });

  it('holds back a client that does not read the answers to its writes', async () => {
    const server = await stage.serve(image);
    const lazy = await stage.guest();
    lazy.socket.pause();
    const payload = pattern(16);
    const batch = Buffer.concat(
      Array.from({ length: 20_000 }, () => [
        lazy.header({ command: Command.write, length: 16, payload }),
        payload,
      ]).flat(),
    );
    const count = 3;
    for (let i = 0; i < count; i++) lazy.socket.write(batch);
    await until(() => image.stats.writeOperations > 1000, 'it has begun');
    await fine();
    let seen = -1;
    await until(() => {
      const still = image.stats.writeOperations === seen;
      seen = image.stats.writeOperations;
      return still;
    }, 'it is held back');
    expect(seen).to.be.below(20_000 * count);
    lazy.socket.resume();
    for (let i = 0; i < 20_000 * count; i++) expect((await lazy.reply()).error).to.equal(0);
    await until(() => server.bytesInFlight === 0, 'all is given back');
  });

  it('does not let many greedy clients starve a modest one', async () => {
    const budget = { connectionBytes: 4 * MIB, totalBytes: 8 * MIB, guaranteedBytes: MIB };
    const server = await stage.serve(image, {}, { budget });
    for (let i = 0; i < 6; i++) {
      const greedy = await stage.guest();
      greedy.socket.pause();
      for (let j = 0; j < 64; j++) greedy.send(read(greedy, 512 * 1024));
    }
    await until(() => server.bytesInFlight > 7 * MIB, 'the budget is used up');
    const modest = await stage.guest();
    for (let i = 0; i < 50; i++) {
      expect(await modest.readData(0, 100_000)).to.deep.equal(Buffer.alloc(100_000));
      expect(await modest.command({ command: Command.write, offset: MIB, payload: pattern(4096) })).to.equal(0);
    }
    expect(server.bytesInFlight).to.be.at.most((8 + 6) * MIB);
  });

  it('serves a request that is larger than the budget, alone', async () => {
    const budget = { connectionBytes: MIB, totalBytes: 64 * MIB, guaranteedBytes: MIB };
    await stage.serve(image, {}, { budget });
    const guest = await stage.guest();
    guest.send(read(guest, 4 * MIB, 1n), read(guest, 4 * MIB, 2n), read(guest, 4096, 3n));
    expect((await guest.reply(4 * MIB)).cookie).to.equal(1n);
    expect((await guest.reply(4 * MIB)).cookie).to.equal(2n);
    expect((await guest.reply(4096)).cookie).to.equal(3n);
  });

  const gone = async (server: NbdServer) => {
    await until(() => server.connectionCount === 0 && server.bytesInFlight === 0, 'nothing is left of it');
    await fine();
    await until(() => server.connectionCount === 0, 'nobody is left');
  };

  it('forgets a client that leaves in the middle of a payload', async () => {
    const server = await stage.serve(image);
    for (const sent of [0, 1, 4096, MIB - 1]) {
      const guest = await stage.guest();
      const payload = pattern(MIB);
      guest.send(guest.header({ command: Command.write, length: MIB, payload }), payload.subarray(0, sent));
      await until(() => server.bytesInFlight > MIB, 'the payload is waited for');
      guest.close();
      await gone(server);
    }
    const bytes = Buffer.alloc(MIB);
    await image.read(0, bytes);
    expect(bytes).to.deep.equal(Buffer.alloc(MIB));
  });

  it('forgets a client that leaves in the middle of a header', async () => {
    const server = await stage.serve(image);
    const guest = await stage.guest();
    guest.send(read(guest, 512).subarray(0, 27));
    guest.close();
    await gone(server);
  });

  it('ends what is under way for a client that has left', async () => {
    const server = await stage.serve(image);
    const gate = new Gate();
    deviceOf(image).setThrottle(gate);
    const guest = await stage.guest('structured');
    for (let i = 0; i < 20; i++) guest.request({ command: Command.read, offset: 0, length: 4096 });
    guest.request({ command: Command.write, offset: 0, payload: pattern(100_000) });
    await until(() => gate.waiting === 21, 'all wait');
    guest.close();
    gate.release();
    await gone(server);
  });

  it('drops who sends no request where one must be', async () => {
    const server = await stage.serve(image);
    for (const dialect of ['simple', 'structured', 'extended'] as const) {
      const guest = await stage.guest(dialect);
      guest.send(read(guest, 16), Buffer.alloc(40, 0x33));
      await guest.rest();
      await gone(server);
    }
  });

  it('drops who announces a payload that nobody means', async () => {
    const server = await stage.serve(image);
    const guest = await stage.guest('extended');
    guest.send(guest.header({ command: Command.write, length: 1n << 40n, payload: Buffer.alloc(0) }));
    expect(await guest.rest()).to.have.lengthOf(0);
    await gone(server);
  });

  it('takes the same cookie any number of times', async () => {
    await stage.serve(image);
    const guest = await stage.guest();
    for (let i = 0; i < 100; i++) guest.send(read(guest, 0, 7n));
    for (let i = 0; i < 100; i++) expect((await guest.reply()).cookie).to.equal(7n);
  });

  it('answers what is under way before it closes', async () => {
    const server = await stage.serve(image);
    const gate = new Gate();
    deviceOf(image).setThrottle(gate);
    const guest = await stage.guest();
    const idle = await stage.guest();
    const negotiation = await stage.client();
    await negotiation.greet();
    guest.request({ command: Command.write, offset: 0, payload: pattern(5000), cookie: 9n });
    await until(() => gate.waiting === 1, 'it waits');
    let closed = false;
    const closing = server.close().then(() => {
      closed = true;
    });
    await idle.rest();
    await negotiation.rest();
    expect(closed).to.equal(false);
    gate.release();
    expect(await guest.reply()).to.deep.include({ cookie: 9n, error: 0 });
    await guest.rest();
    await closing;
    const bytes = Buffer.alloc(5000);
    await image.read(0, bytes);
    expect(bytes).to.deep.equal(pattern(5000));
  });

  it('takes an export away: at once only where nobody uses it', async () => {
    const server = await stage.serve(image, { name: 'a' });
    const guest = await stage.client();
    await guest.go('simple', { name: 'a' });
    const code = await server.removeExport('a').catch((error) => error.code);
    expect(code).to.equal('busy');
    await server.removeExport('a', 'hard');
    await guest.rest();
    expect(await server.removeExport('a').catch((error) => error.code)).to.equal('not-found');
    const late = await stage.client();
    expect(await late.go('simple', { name: 'a' }).catch((error: Error) => error.message)).to.match(/GO: 80000006/);
  });

  it('refuses to write to what is for reading', async () => {
    await stage.serve(image, { readOnly: true });
    const guest = await stage.guest();
    expect(await guest.command({ command: Command.write, payload: pattern(100_000) })).to.equal(NbdError.perm);
    expect(await guest.command({ command: Command.trim, length: 1 })).to.equal(NbdError.perm);
    expect(await guest.command({ command: Command.writeZeroes, length: 1 })).to.equal(NbdError.perm);
    expect(await guest.command({ command: Command.flush })).to.equal(0);
  });

  it('changes the size where that was offered', async () => {
    await stage.serve(image, { resize: true });
    const guest = await stage.guest();
    const other = await stage.guest();
    expect(await guest.command({ command: Command.resize, offset: 2 * SIZE })).to.equal(0);
    expect(image.size).to.equal(2 * SIZE);
    expect(await other.command({ command: Command.write, offset: 2 * SIZE - 9, payload: pattern(9) })).to.equal(0);
    expect(await guest.command({ command: Command.resize, offset: MIB })).to.equal(0);
    expect(await other.command({ command: Command.write, offset: MIB, payload: pattern(9) })).to.equal(
      NbdError.noSpace,
    );
    expect(await guest.command({ command: Command.resize, offset: MIB, length: 1 })).to.equal(NbdError.invalid);
    expect(await guest.command({ command: Command.resize, offset: 1n << 60n })).to.equal(NbdError.invalid);
    expect((await stage.guest()).size).to.equal(MIB);
  });

  it('serves others while a client asks for status without end', async () => {
    const bitmap = addInnerBitmap(image, 'b', 512);
    for (let at = 0; at < SIZE; at += 1024) bitmap.set(at, 512);
    const server = await stage.serve(image, { bitmaps: ['b'] });
    const greedy = await stage.guest('extended', ['qemu:dirty-bitmap:b']);
    const modest = await stage.guest();
    const count = 2000;
    let answered = 0;
    const ask = greedy.header({ command: Command.blockStatus, length: SIZE });
    greedy.send(Buffer.concat(Array.from({ length: count }, () => ask)));
    const all = (async () => {
      for (; answered < count; answered++) await greedy.reply();
    })();
    await until(() => answered > 0, 'it has begun');
    for (let i = 0; i < 10; i++) expect(await modest.readData(0, 4096)).to.deep.equal(Buffer.alloc(4096));
    expect(answered).to.be.below(count);
    expect(server.bytesInFlight).to.be.at.most(65 * MIB);
    greedy.close();
    await all.catch(() => undefined);
  });

  it('looks nothing up for a client that has left', async () => {
    const bitmap = addInnerBitmap(image, 'b', 512);
    for (let at = 0; at < SIZE; at += 1024) bitmap.set(at, 512);
    let lookups = 0;
    const { nextZero } = bitmap;
    bitmap.nextZero = function (...range) {
      lookups++;
      return nextZero.apply(this, range);
    };
    const server = await stage.serve(image, { bitmaps: ['b'] });
    const greedy = await stage.guest('extended', ['qemu:dirty-bitmap:b']);
    const ask = greedy.header({ command: Command.blockStatus, length: SIZE });
    greedy.send(Buffer.concat(Array.from({ length: 200 }, () => ask)));
    await until(() => lookups > 0, 'it has begun');
    greedy.close();
    await gone(server);
    // A few answers of up to 8,192 each.
    expect(lookups).to.be.below(20 * 8192);
  });

  it('drops a client for whose answer there is no memory, and gives back what it had once', async () => {
    const granule = 64 * 1024;
    const disk = await stage.image('sparse', { size: SIZE });
    for (let at = granule; at < 136 * granule; at += 2 * granule) await disk.write(at, pattern(granule));
    const server = await stage.serve(disk);
    const guest = await stage.guest('structured');
    // A hole, then 68 times data and a hole: the last hole is the first that does not fit the outbox's block, with all data on its way.
    const { memory } = stage.host;
    const { allocate } = memory;
    let blocks = 0;
    memory.allocate = function (length) {
      if (length === OUTBOX_BLOCK_BYTES && new Error().stack?.includes('Outbox') && ++blocks === 2) {
        throw new BlockError('limit', 'none left');
      }
      return allocate.call(this, length);
    };
    guest.request({ command: Command.read, offset: 0, length: 137 * granule });
    await guest.rest();
    memory.allocate = allocate;
    await gone(server);
    expect(blocks).to.equal(2);
    expect(server.bytesInFlight).to.equal(0);
  });

  it('sends what is mapped straight from and to the file', async () => {
    const disk = await stage.image('mapped', { size: SIZE });
    await disk.write(0, pattern(MIB));
    const slow = () => Promise.reject(new BlockError('io', 'this is the slow path'));
    deviceOf(disk).read = slow;
    deviceOf(disk).write = slow;
    await stage.serve(disk);
    for (const dialect of ['simple', 'structured', 'extended'] as const) {
      const guest = await stage.guest(dialect);
      expect(await guest.readData(1000, 300_000)).to.deep.equal(pattern(MIB).subarray(1000, 301_000));
      expect(await guest.command({ command: Command.write, offset: 5, payload: pattern(100_000, 9) })).to.equal(0);
      expect(await guest.readData(5, 100_000)).to.deep.equal(pattern(100_000, 9));
      const error = await guest.command({ command: Command.write, offset: 8 * MIB, payload: pattern(10) });
      expect(error).to.equal(NbdError.io);
      expect(await guest.command({ command: Command.write, offset: 0, payload: pattern(100_005) })).to.equal(0);
    }
    expect(disk.stats.readOperations).to.equal(6);
  });
});
