// The protocol of a mounted file, on the simulated host: the test is the kernel.

import { constants } from 'node:os';
import { expect } from 'chai';
import type { Device } from '../../../src/block/device.js';
import type { FuseSession } from '../../../src/exports/fuse/session.js';
import type { SimFuseChannel } from '../../../src/host/sim/fuse.js';
import { SimHost } from '../../../src/host/sim/index.js';
import { deviceOf } from '../../../src/library/image.js';
import { Workspace } from '../../../src/library/workspace.js';
import { BlockError } from '../../../src/util/errors.js';
import { Opcode } from '../../../src/wire/fuse/constants.js';
import { mountDevice } from '../../../src/workspace/mount.js';

const SIZE = 1 << 20;
const { EACCES, EINVAL, EIO, ENOENT, ENOSYS, ENXIO, EOPNOTSUPP, EPROTO, EFBIG } = constants.errno;

interface Answer {
  unique: number;
  error: number;
  body: Buffer;
}

/** A request as the kernel writes it; `words`: 64-bit fields behind the header. */
function request(
  opcode: number,
  unique: number,
  words: readonly (number | bigint)[] = [],
  data?: Uint8Array,
  node = 1,
) {
  const bytes = Buffer.alloc(40 + 8 * words.length + (data?.length ?? 0));
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeUInt32LE(opcode, 4);
  bytes.writeBigUInt64LE(BigInt(unique), 8);
  bytes.writeBigUInt64LE(BigInt(node), 16);
  words.forEach((word, index) => void bytes.writeBigUInt64LE(BigInt(word), 40 + 8 * index));
  if (data !== undefined) bytes.set(data, 40 + 8 * words.length);
  return bytes;
}

const read = (unique: number, offset: number | bigint, size: number) =>
  request(Opcode.read, unique, [0, offset, size, 0, 0]);
const write = (unique: number, offset: number | bigint, data: Uint8Array) =>
  request(Opcode.write, unique, [0, offset, data.length, 0, 0], data);

describe('FUSE: the requests of one file', () => {
  let host: SimHost;
  let workspace: Workspace;
  let device: Device;
  let session: FuseSession | undefined;
  let channel: SimFuseChannel;
  let ends: (BlockError | null)[];

  beforeEach(async () => {
    host = new SimHost({});
    workspace = new Workspace(host);
    await workspace.create('/a.qcow2', { driver: 'qcow2', size: SIZE });
    device = deviceOf(await workspace.open('/a.qcow2', { format: 'qcow2' }));
    ends = [];
  });

  afterEach(async () => {
    await session?.close();
    await workspace.close();
  });

  async function mount(options: { writable?: boolean; growable?: boolean } = {}): Promise<void> {
    const request = { path: '/mnt', allowOther: 'auto', source: 'test', writethrough: false } as const;
    const { writable = true, growable = false } = options;
    session = await mountDevice(host, device, { ...request, writable, growable }, (error) => ends.push(error));
    [channel] = host.fuse.channels;
  }

  /** Sends requests together, and waits for as many answers, which come in any order. */
  async function ask(...requests: Buffer[]): Promise<Answer[]> {
    channel.answers.length = 0;
    channel.send(...requests);
    while (channel.answers.length < requests.length) await new Promise((resolve) => setImmediate(resolve));
    const answers = channel.answers.map((bytes) => {
      const all = Buffer.from(bytes);
      expect(all.readUInt32LE(0)).to.equal(all.length);
      return { unique: Number(all.readBigUInt64LE(8)), error: 0 - all.readInt32LE(4), body: all.subarray(16) };
    });
    return answers.sort((a, b) => a.unique - b.unique);
  }

  const errorsOf = (answers: Answer[]) => answers.map(({ error }) => error);

  it('agrees on requests of 1 MiB, and refuses a kernel that is too old', async () => {
    await mount();
    const init = (major: number, minor: number) => {
      const bytes = request(Opcode.init, 1, [0, 0]);
      [major, minor, 1 << 17, 0xffffffff].forEach((word, index) => void bytes.writeUInt32LE(word, 40 + 4 * index));
      return bytes;
    };
    const [{ error, body }] = await ask(init(7, 45));
    expect([error, body.length, body.readUInt32LE(0), body.readUInt32LE(4)]).to.deep.equal([0, 64, 7, 31]);
    expect(body.readUInt32LE(20)).to.equal(SIZE);
    // O_TRUNC comes with OPEN, which cuts nothing.
    expect(body.readUInt32LE(12) & 8).to.equal(8);
    expect(errorsOf(await ask(init(7, 12)))).to.deep.equal([EPROTO]);
    expect((await ask(init(8, 0)))[0].body.readUInt32LE(0)).to.equal(7);
  });

  it('answers many reads and writes that came together, each with its own bytes', async () => {
    await mount();
    const pieces = Array.from({ length: 40 }, (_, index) => Buffer.alloc(4096, index + 1));
    const written = await ask(...pieces.map((piece, index) => write(index + 1, index * 8192, piece)));
    expect(written.map(({ unique, body }) => [unique, body.readUInt32LE(0)])).to.deep.equal(
      pieces.map((_, index) => [index + 1, 4096]),
    );
    const answers = await ask(...pieces.map((_, index) => read(index + 1, index * 8192, 8192)));
    answers.forEach(({ body }, index) => {
      expect(body.equals(Buffer.concat([pieces[index], Buffer.alloc(4096)]))).to.equal(true);
    });
  });

  it('writes a megabyte from where it was received', async () => {
    await mount();
    const bytes = Buffer.from(Uint8Array.from({ length: SIZE }, (_, index) => (index * 7 + (index >> 8)) & 0xff));
    expect((await ask(write(1, 0, bytes)))[0].body.readUInt32LE(0)).to.equal(SIZE);
    expect((await ask(read(2, 0, SIZE)))[0].body.equals(bytes)).to.equal(true);
  });

  it('cuts reads and writes at the end, and refuses what lies behind it', async () => {
    await mount();
    const bytes = Buffer.alloc(8192, 7);
    expect((await ask(write(1, SIZE - 4096, bytes)))[0].body.readUInt32LE(0)).to.equal(4096);
    expect((await ask(read(2, SIZE - 10, 4096)))[0].body.length).to.equal(10);
    expect((await ask(read(3, SIZE, 4096), read(4, 1n << 62n, 1))).map(({ body }) => body.length)).to.deep.equal([
      0, 0,
    ]);
    expect(errorsOf(await ask(write(5, SIZE, bytes), write(6, 1n << 62n, bytes)))).to.deep.equal([EIO, EIO]);
    expect(device.length).to.equal(SIZE);
  });

  it('grows where that is asked for, also by writes that come together', async () => {
    await mount({ growable: true });
    const bytes = Buffer.alloc(4096, 9);
    const answers = await ask(write(1, SIZE + 65536, bytes), write(2, SIZE + 4096, bytes), write(3, SIZE, bytes));
    expect(errorsOf(answers)).to.deep.equal([0, 0, 0]);
    expect(device.length).to.equal(SIZE + 65536 + 4096);
    expect(errorsOf(await ask(write(4, 1n << 62n, bytes)))).to.deep.equal([EFBIG]);
    const [{ body }] = await ask(read(5, SIZE, 8192));
    expect(body.equals(Buffer.alloc(8192, 9))).to.equal(true);
  });

  it('allocates space behind the end only, also of what comes together', async () => {
    await mount();
    const allocate = (unique: number, offset: number) => request(Opcode.fallocate, unique, [0, offset, 4096, 0]);
    expect(errorsOf(await ask(allocate(1, SIZE + 65536), allocate(2, SIZE)))).to.deep.equal([0, EOPNOTSUPP]);
    expect(device.length).to.equal(SIZE + 65536 + 4096);
  });

  it('lets nobody write to what is only read', async () => {
    await mount({ writable: false });
    const answers = await ask(write(1, 0, Buffer.alloc(512)), request(Opcode.fallocate, 2, [0, 0, 512, 3]));
    expect(errorsOf(answers)).to.deep.equal([EACCES, EACCES]);
    const truncate = request(Opcode.setattr, 3, Array(11).fill(0));
    truncate.writeUInt32LE(8, 40);
    expect(errorsOf(await ask(truncate))).to.deep.equal([EACCES]);
    expect((await ask(request(Opcode.getattr, 4, [0, 0])))[0].body.readUInt32LE(76)).to.equal(0o100400);
  });

  it('finds data and holes', async () => {
    await mount();
    await ask(write(1, 65536, Buffer.alloc(65536, 1)));
    const seek = (unique: number, offset: number, whence: number) => request(Opcode.lseek, unique, [0, offset, whence]);
    const at = async (offset: number, whence: number) => {
      const [{ error, body }] = await ask(seek(1, offset, whence));
      return error === 0 ? Number(body.readBigUInt64LE(0)) : -error;
    };
    expect([await at(0, 3), await at(0, 4), await at(70000, 3), await at(70000, 4)]).to.deep.equal([
      65536, 0, 70000, 131072,
    ]);
    expect([await at(131072, 3), await at(SIZE, 4), await at(SIZE + 1, 4), await at(0, 0)]).to.deep.equal([
      -ENXIO,
      SIZE,
      -ENXIO,
      -EINVAL,
    ]);
  });

  it('frees a range, and zeroes one', async () => {
    await mount();
    await ask(write(1, 0, Buffer.alloc(262144, 5)));
    const answers = await ask(
      request(Opcode.fallocate, 2, [0, 0, 65536, 3]),
      request(Opcode.fallocate, 3, [0, 131072, 512, 0x10]),
    );
    expect(errorsOf(answers)).to.deep.equal([0, 0]);
    const [{ body }] = await ask(read(4, 0, 262144));
    expect(body.subarray(0, 65536).equals(Buffer.alloc(65536))).to.equal(true);
    expect([body[65536], body[131071], body[131072], body[131072 + 511], body[131072 + 512]]).to.deep.equal([
      5, 5, 0, 0, 5,
    ]);
  });

  it('answers what it does not know, and what is too short, by an error', async () => {
    await mount();
    const short = request(Opcode.write, 1, [0]);
    const lying = write(2, 0, Buffer.alloc(512));
    lying.writeUInt32LE(4096, 56);
    const answers = await ask(
      short,
      lying,
      request(22, 3),
      request(Opcode.lookup, 4),
      request(Opcode.getattr, 5, [0, 0], undefined, 7),
    );
    expect(errorsOf(answers)).to.deep.equal([EINVAL, EINVAL, ENOSYS, ENOENT, ENOENT]);
  });

  it('answers nothing to FORGET and INTERRUPT', async () => {
    await mount();
    const answers = await ask(request(Opcode.getattr, 3, [0, 0]));
    expect(errorsOf(answers)).to.deep.equal([0]);
    channel.answers.length = 0;
    channel.send(request(Opcode.forget, 1, [1]), request(Opcode.interrupt, 2, [1]));
    expect(channel.answers).to.deep.equal([]);
    expect(channel.reads).to.equal(true);
  });

  it('answers what is under way before it ends', async () => {
    await mount();
    channel.answers.length = 0;
    channel.send(...Array.from({ length: 8 }, (_, index) => write(index + 1, index * 65536, Buffer.alloc(65536, 3))));
    await session?.close();
    expect(channel.answers.length).to.equal(8);
    expect([channel.mounted, channel.open, ends]).to.deep.equal([false, false, [null]]);
  });

  it('ends, and says so, where it cannot be unmounted', async () => {
    await mount();
    const error = new BlockError('permission', 'not yours');
    channel.unmount = () => Promise.reject(error);
    expect(await (session as FuseSession).close().catch((failure: unknown) => failure)).to.equal(error);
    expect([channel.open, ends]).to.deep.equal([false, [null]]);
    session = undefined;
  });

  it('ends once, with the error, where the channel fails', async () => {
    await mount();
    const error = new BlockError('io', 'gone');
    channel.end(error);
    await session?.close();
    expect(ends).to.deep.equal([error]);
  });
});
