// Every command with every flag, in all three dialects, over a real socket.

import { expect } from 'chai';
import type { Image } from '../../../src/library/image.js';
import { Chunk, Command, CommandFlag, NbdError } from '../../../src/wire/nbd/constants.js';
import type { RawClient, RawDialect } from '../../support/nbd-raw.js';
import { MIB, pattern, Stage } from './support.js';

const SIZE = 8 * MIB;

for (const dialect of ['simple', 'structured', 'extended'] as const)
  describe(`nbd server: commands, ${dialect}`, () => suite(dialect));

function suite(dialect: RawDialect): void {
  let stage: Stage;
  let image: Image;
  let guest: RawClient;

  beforeEach(async () => {
    stage = new Stage();
    image = await stage.image('disk', { size: SIZE });
    await stage.serve(image);
    guest = await stage.guest(dialect);
  });
  afterEach(() => stage.close());

  const content = async (offset: number, length: number) => {
    const bytes = Buffer.alloc(length);
    await image.read(offset, bytes);
    return bytes;
  };

  it('reads what is there, and zeroes where nothing is', async () => {
    await image.write(65536, pattern(100_000));
    expect(await guest.readData(65536, 100_000)).to.deep.equal(pattern(100_000));
    const around = Buffer.concat([Buffer.alloc(1000), pattern(100_000), Buffer.alloc(3000)]);
    expect(await guest.readData(64536, 104_000)).to.deep.equal(around);
    expect(await guest.readData(SIZE - 10, 10)).to.deep.equal(Buffer.alloc(10));
  });

  it('answers many reads of zeroes that come at once, between others', async () => {
    await image.write(0, pattern(4096));
    for (let i = 0; i < 500; i++) {
      guest.request({ command: Command.read, offset: i % 5 === 0 ? 0 : i * 4096, length: 4096, cookie: BigInt(i) });
    }
    const cookies = new Set<bigint>();
    for (let i = 0; i < 500; i++) cookies.add((await guest.reply(4096)).cookie);
    expect(cookies.size).to.equal(500);
    expect(await guest.readData(4096, 8192)).to.deep.equal(Buffer.alloc(8192));
  });

  it('writes small and large payloads', async () => {
    const sizes = [1, 511, 4096, 65_535, 65_536, 300_000, 2 * MIB];
    for (const length of sizes) {
      expect(await guest.command({ command: Command.write, offset: 4097, payload: pattern(length, length) })).to.equal(
        0,
      );
      expect(await content(4097, length)).to.deep.equal(pattern(length, length));
    }
  });

  it('takes a payload in pieces of any size', async () => {
    const payload = pattern(70_000, 3);
    const whole = Buffer.concat([
      guest.header({ command: Command.write, offset: 10, length: 70_000, payload }),
      payload,
    ]);
    for (let at = 0; at < whole.length; ) {
      const part = at < 40 ? 3 : 9973;
      await new Promise<void>((resolve) => guest.socket.write(whole.subarray(at, at + part), () => resolve()));
      at += part;
    }
    expect((await guest.reply()).error).to.equal(0);
    expect(await content(10, 70_000)).to.deep.equal(payload);
  });

  it('answers many requests that come at once', async () => {
    const count = 200;
    const parts: Buffer[] = [];
    for (let i = 0; i < count; i++) {
      const payload = pattern(4096, i);
      parts.push(
        guest.header({ command: Command.write, offset: i * 4096, length: 4096, cookie: BigInt(i), payload }),
        payload,
      );
    }
    guest.send(...parts);
    const answered = new Set<bigint>();
    for (let i = 0; i < count; i++) {
      const { cookie, error } = await guest.reply();
      expect(error).to.equal(0);
      answered.add(cookie);
    }
    expect(answered.size).to.equal(count);
    for (let i = 0; i < count; i++) expect(await guest.readData(i * 4096, 4096)).to.deep.equal(pattern(4096, i));
  });

  it('writes through with FUA, and flushes', async () => {
    const flushes = image.stats.flushOperations;
    const { command: write } = { command: Command.write };
    expect(await guest.command({ command: write, flags: CommandFlag.fua, offset: 0, payload: pattern(512) })).to.equal(
      0,
    );
    expect(await content(0, 512)).to.deep.equal(pattern(512));
    expect(await guest.command({ command: Command.flush })).to.equal(0);
    expect(image.stats.flushOperations).to.equal(flushes + 1);
  });

  it('trims, also with FUA', async () => {
    await image.write(0, pattern(2 * MIB));
    expect(await guest.command({ command: Command.trim, offset: 0, length: MIB })).to.equal(0);
    expect(await guest.command({ command: Command.trim, flags: CommandFlag.fua, offset: MIB, length: 65536 })).to.equal(
      0,
    );
    expect(await guest.readData(0, MIB)).to.deep.equal(Buffer.alloc(MIB));
    expect(await guest.readData(MIB + 65536, 4096)).to.deep.equal(pattern(2 * MIB).subarray(MIB + 65536, MIB + 69632));
  });

  it('writes zeroes, with and without holes', async () => {
    await image.write(0, pattern(2 * MIB));
    for (const flags of [0, CommandFlag.noHole, CommandFlag.fua, CommandFlag.fastZero]) {
      await image.write(0, pattern(2 * MIB));
      expect(await guest.command({ command: Command.writeZeroes, flags, offset: 65536, length: MIB })).to.equal(0);
      expect(await content(65536, MIB)).to.deep.equal(Buffer.alloc(MIB));
      expect(await content(0, 65536)).to.deep.equal(pattern(65536));
    }
  });

  it('refuses zeroes that cannot be written fast', async () => {
    await image.write(0, pattern(65536));
    const flags = CommandFlag.fastZero;
    expect(await guest.command({ command: Command.writeZeroes, flags, offset: 100, length: 50 })).to.equal(
      NbdError.notSupported,
    );
    expect(await content(0, 65536)).to.deep.equal(pattern(65536));
  });

  it('reads ahead', async () => {
    const before = image.stats.readBytes;
    expect(await guest.command({ command: Command.cache, offset: 1000, length: 3 * MIB })).to.equal(0);
    expect(image.stats.readBytes - before).to.equal(3 * MIB);
  });

  it('takes requests of no bytes', async () => {
    expect(await guest.readData(5, 0)).to.deep.equal(Buffer.alloc(0));
    expect(await guest.command({ command: Command.write, offset: SIZE, payload: Buffer.alloc(0) })).to.equal(0);
    expect(await guest.command({ command: Command.trim, offset: SIZE, length: 0 })).to.equal(0);
    expect(await guest.command({ command: Command.writeZeroes, offset: 0, length: 0 })).to.equal(0);
    expect(await guest.command({ command: Command.cache, offset: 0, length: 0 })).to.equal(0);
  });

  it('says what cannot be, and goes on', async () => {
    const cases: [number, Parameters<RawClient['request']>[0]][] = [
      [NbdError.invalid, { command: Command.read, offset: SIZE, length: 1 }],
      [NbdError.invalid, { command: Command.read, offset: 1, length: SIZE }],
      [NbdError.invalid, { command: Command.read, offset: 0xffffffffffffffffn, length: 1 }],
      [NbdError.invalid, { command: Command.read, length: 32 * MIB + 1 }],
      [NbdError.noSpace, { command: Command.write, offset: SIZE - 1, payload: pattern(2) }],
      [NbdError.noSpace, { command: Command.write, offset: 1n << 60n, payload: pattern(100_000) }],
      [NbdError.invalid, { command: Command.write, payload: Buffer.alloc(32 * MIB + 1) }],
      [NbdError.noSpace, { command: Command.writeZeroes, offset: SIZE - 1, length: 2 }],
      [NbdError.invalid, { command: Command.trim, offset: SIZE - 1, length: 2 }],
      [NbdError.invalid, { command: Command.cache, offset: SIZE - 1, length: 2 }],
      [NbdError.invalid, { command: Command.flush, offset: 1 }],
      [NbdError.invalid, { command: Command.flush, length: 1 }],
      [NbdError.invalid, { command: Command.blockStatus, length: 1 }],
      [NbdError.invalid, { command: Command.resize, offset: 2 * SIZE }],
      [NbdError.invalid, { command: 9, length: 1 }],
      [NbdError.invalid, { command: 0xffff }],
      [NbdError.invalid, { command: Command.read, flags: CommandFlag.noHole, length: 1 }],
      [NbdError.invalid, { command: Command.write, flags: CommandFlag.df, payload: pattern(9) }],
      [NbdError.invalid, { command: Command.writeZeroes, flags: CommandFlag.df, length: 1 }],
      [NbdError.invalid, { command: Command.trim, flags: CommandFlag.reqOne, length: 1 }],
      [NbdError.invalid, { command: Command.flush, flags: 1 << 15 }],
    ];
    for (const [error, request] of cases) {
      const what = JSON.stringify({ ...request, payload: undefined }, (_, value) =>
        typeof value === 'bigint' ? `${value}` : value,
      );
      expect(await guest.command(request), what).to.equal(error);
    }
    expect(await guest.readData(0, 512)).to.deep.equal(Buffer.alloc(512));
  });

  it('ends with a disconnect, after what came before', async () => {
    guest.send(
      guest.header({ command: Command.flush, cookie: 5n }),
      guest.header({ command: Command.cache, length: 100, cookie: 6n }),
      guest.header({ command: Command.disconnect }),
      guest.header({ command: Command.read, length: 100, cookie: 7n }),
    );
    const cookies = new Set<bigint>();
    for (let i = 0; i < 2; i++) cookies.add((await guest.reply()).cookie);
    expect([...cookies].sort()).to.deep.equal([5n, 6n]);
    expect(await guest.rest()).to.have.lengthOf(0);
  });

  if (dialect === 'simple') return;

  it('leaves out holes, unless they are wanted in one piece', async () => {
    await image.write(MIB, pattern(65536));
    guest.request({ command: Command.read, offset: 0, length: 2 * MIB });
    const chunks = await guest.replies();
    expect(chunks.map(({ type }) => type)).to.deep.equal([Chunk.offsetHole, Chunk.offsetData, Chunk.offsetHole]);
    expect(chunks[0].data.readUInt32BE(8)).to.equal(MIB);
    expect(chunks[1].data.subarray(8)).to.deep.equal(pattern(65536));
    guest.request({ command: Command.read, flags: CommandFlag.df, offset: 0, length: 2 * MIB });
    const whole = await guest.replies();
    expect(whole.map(({ type }) => type)).to.deep.equal([Chunk.offsetData]);
    expect(whole[0].data.subarray(8 + MIB, 8 + MIB + 65536)).to.deep.equal(pattern(65536));
  });

  it('answers a read of nothing but zeroes with one hole, however short', async () => {
    for (const flags of [0, CommandFlag.df]) {
      guest.request({ command: Command.read, flags, offset: MIB, length: 512 });
      const [hole, ...more] = await guest.replies();
      expect(more).to.deep.equal([]);
      expect(hole.type).to.equal(Chunk.offsetHole);
      expect([hole.data.readBigUInt64BE(0), hole.data.readUInt32BE(8)]).to.deep.equal([BigInt(MIB), 512]);
    }
  });

  it('says in words what is wrong', async () => {
    guest.request({ command: Command.read, offset: SIZE, length: 1, cookie: 0x123456789abcdef0n });
    const { type, data, cookie } = await guest.reply();
    expect(type).to.equal(Chunk.error);
    expect(cookie).to.equal(0x123456789abcdef0n);
    expect(data.subarray(6)).to.have.lengthOf(data.readUInt16BE(4));
    expect(data.subarray(6).toString()).to.match(/range/);
  });
}
