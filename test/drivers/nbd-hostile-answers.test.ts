// The NBD client against a server that breaks the rules of transmission, or keeps them in unusual ways: nothing wrong is believed, and nothing hangs.

import { expect } from 'chai';
import type { BlockErrorCode } from '../../src/util/errors.js';
import { Chunk, Command, CommandFlag, TransmissionFlag } from '../../src/wire/nbd/constants.js';
import { settle } from '../support/fake-clock.js';
import { ALL_FLAGS, type FakeExport, type FakePeer, type FakeRequest } from '../support/fake-nbd.js';
import { u16, u32, u64 } from '../support/wire-fields.js';
import { NbdLab } from './nbd-support.js';
import { failureOf, pattern } from './support.js';

const SIZE = 1 << 20;
const PLAIN: FakeExport = { size: SIZE };
const STRUCTURED: FakeExport = { size: SIZE, structured: true, contextId: 7 };
const EXTENDED: FakeExport = { size: SIZE, extended: true, contextId: 7 };

describe('nbd: hostile answers', () => {
  let lab: NbdLab;
  beforeEach(() => {
    lab = new NbdLab();
  });
  afterEach(() => lab.close());

  const LENGTH = 8192;
  type Answer = (peer: FakePeer, request: FakeRequest) => void;
  const reads: [string, FakeExport, Answer, RegExp][] = [
    ['a wrong magic number', PLAIN, (peer) => peer.write(Buffer.alloc(64, 1)), /wrong magic number/],
    ['a structured reply that was not agreed on', PLAIN, (peer, r) => peer.data(r, 0, Buffer.alloc(LENGTH)), /magic/],
    ['a simple reply to a structured read', STRUCTURED, (peer, r) => peer.simple(r, 0, Buffer.alloc(9)), /structured/],
    ['a simple reply among extended ones', EXTENDED, (peer, r) => peer.simple(r), /wrong magic number/],
    [
      'an answer to nobody',
      PLAIN,
      (peer, r) => peer.simple({ ...r, cookie: Buffer.alloc(8, 0xff) }),
      /belongs to no request/,
    ],
    [
      'an answer to an earlier use of the slot',
      PLAIN,
      (peer, r) =>
        peer.simple({ ...r, cookie: Buffer.concat([u32(r.cookie.readUInt32BE(0) - 1), r.cookie.subarray(4)]) }),
      /belongs to no request/,
    ],
    [
      'data before what was asked for',
      STRUCTURED,
      (peer, r) => peer.data(r, r.offset - 1, Buffer.alloc(LENGTH)),
      /outside of the request/,
    ],
    [
      'data behind what was asked for',
      STRUCTURED,
      (peer, r) => peer.data(r, r.offset + 1, Buffer.alloc(LENGTH)),
      /outside of the request/,
    ],
    [
      'more data than was asked for',
      STRUCTURED,
      (peer, r) => peer.data(r, r.offset, Buffer.alloc(LENGTH + 1)),
      /chunk has an invalid length/,
    ],
    [
      'data of no length',
      STRUCTURED,
      (peer, r) => peer.data(r, r.offset, Buffer.alloc(0)),
      /chunk has an invalid length/,
    ],
    [
      'the same data twice',
      STRUCTURED,
      (peer, r) => {
        peer.data(r, r.offset, Buffer.alloc(4096), 0);
        peer.data(r, r.offset, Buffer.alloc(4096));
      },
      /comes twice/,
    ],
    [
      'overlapping data out of order',
      STRUCTURED,
      (peer, r) => {
        peer.data(r, r.offset + 4096, Buffer.alloc(4096), 0);
        peer.data(r, r.offset + 1, Buffer.alloc(4096));
      },
      /comes twice/,
    ],
    [
      'half of the data',
      STRUCTURED,
      (peer, r) => peer.data(r, r.offset, Buffer.alloc(4096)),
      /before all of it has come/,
    ],
    ['none of the data', STRUCTURED, (peer, r) => peer.chunk(r, Chunk.none), /before all of it has come/],
    ['an empty chunk that goes on', STRUCTURED, (peer, r) => peer.chunk(r, Chunk.none, undefined, 0), /not the last/],
    [
      'a hole of 4 GiB',
      STRUCTURED,
      (peer, r) => peer.chunk(r, Chunk.offsetHole, Buffer.concat([u64(r.offset), u32(0xffffffff)])),
      /outside of the request/,
    ],
    [
      'a hole cut off',
      STRUCTURED,
      (peer, r) => peer.chunk(r, Chunk.offsetHole, u64(r.offset)),
      /chunk has an invalid length/,
    ],
    ['block status for a read', STRUCTURED, (peer, r) => peer.chunk(r, Chunk.blockStatus, u32(7)), /unexpected chunk/],
    [
      'a chunk that nobody knows',
      STRUCTURED,
      (peer, r) => peer.chunk(r, 99, Buffer.alloc(9)),
      /unexpected chunk of type 99/,
    ],
    [
      'an error without a number',
      STRUCTURED,
      (peer, r) => peer.chunk(r, Chunk.error, Buffer.concat([u32(0), u16(0)])),
      /is malformed/,
    ],
    [
      'an error with a text longer than it is',
      STRUCTURED,
      (peer, r) => peer.chunk(r, Chunk.error, Buffer.concat([u32(5), u16(100), Buffer.from('x')])),
      /is malformed/,
    ],
    [
      'an error of 5000 bytes',
      STRUCTURED,
      (peer, r) => peer.chunk(r, Chunk.error, Buffer.alloc(5000, 1)),
      /chunk has an invalid length/,
    ],
    [
      'a reply of 2^40 bytes',
      EXTENDED,
      (peer, r) => peer.write(0x6e8a278c, u16(1), u16(1), r.cookie, u64(r.offset), u64(2 ** 40)),
      /a reply is too long/,
    ],
    ['the end', PLAIN, (peer) => peer.socket.end(), /closed the connection/],
    [
      'the end in the middle of the data',
      PLAIN,
      (peer, r) => {
        peer.simple(r, 0, Buffer.alloc(100));
        peer.socket.end();
      },
      /closed the connection/,
    ],
    ['that it shuts down', PLAIN, (peer, r) => peer.simple(r, 108), /shutting down/],
  ];
  for (const [what, offer, answer, message] of reads) {
    it(`to a read: ${what}`, async () => {
      const fake = await lab.afterHandshake(offer, async (peer) => {
        const first = await peer.request();
        // The first one is honest, so that there is an earlier use of the slot.
        if (offer.structured || offer.extended) peer.data(first, first.offset, Buffer.alloc(first.length, 9));
        else peer.simple(first, 0, Buffer.alloc(first.length, 9));
        answer(peer, await peer.request());
        await peer.gone();
      });
      const node = await lab.openNbd(fake.path, {}, { readOnly: true });
      const buffer = Buffer.alloc(LENGTH + 200, 0xee);
      await node.read(0, buffer.subarray(0, 512));
      buffer.fill(0xee);
      const error = await failureOf(node.read(65536, buffer.subarray(100, 100 + LENGTH)));
      expect(error.code).to.equal('io');
      expect(error.message).to.match(message);
      expect(error).to.include({ path: node.filename, offset: 65536, length: LENGTH, operation: 'read' });
      expect(buffer.subarray(0, 100).every((byte) => byte === 0xee)).to.equal(true);
      expect(buffer.subarray(100 + LENGTH).every((byte) => byte === 0xee)).to.equal(true);
      expect(fake.failures).to.deep.equal([]);
    });
  }

  const entry = (length: number, flags: number) => Buffer.concat([u32(length), u32(flags)]);
  const statuses: [string, FakeExport, Answer, RegExp][] = [
    [
      'of another context',
      STRUCTURED,
      (p, r) => p.chunk(r, 5, Buffer.concat([u32(8), entry(512, 0)])),
      /not requested/,
    ],
    ['of nothing', STRUCTURED, (p, r) => p.chunk(r, 5, u32(7)), /cut off/],
    ['too short', STRUCTURED, (p, r) => p.chunk(r, 5, u16(7)), /too short/],
    ['cut off', STRUCTURED, (p, r) => p.chunk(r, 5, Buffer.concat([u32(7), entry(512, 0), u32(1)])), /cut off/],
    ['of no length', STRUCTURED, (p, r) => p.chunk(r, 5, Buffer.concat([u32(7), entry(0, 0)])), /is malformed/],
    [
      'behind the end',
      STRUCTURED,
      (p, r) => p.chunk(r, 5, Buffer.concat([u32(7), entry(SIZE, 0), entry(512, 0)])),
      /is malformed/,
    ],
    [
      'twice',
      STRUCTURED,
      (p, r) => {
        p.chunk(r, 5, Buffer.concat([u32(7), entry(512, 0)]), 0);
        p.chunk(r, 5, Buffer.concat([u32(7), entry(512, 0)]));
      },
      /comes twice/,
    ],
    ['not at all', STRUCTURED, (p, r) => p.chunk(r, 0), /is empty/],
    ['in a simple reply', STRUCTURED, (p, r) => p.simple(r), /must be structured/],
    ['of the old kind in the new', EXTENDED, (p, r) => p.chunk(r, 5, Buffer.alloc(16)), /unexpected chunk/],
    [
      'that counts wrongly',
      EXTENDED,
      (p, r) => p.chunk(r, 6, Buffer.concat([u32(7), u32(2), Buffer.alloc(16, 1)])),
      /cut off/,
    ],
  ];
  for (const [what, offer, answer, message] of statuses) {
    it(`a block status ${what}`, async () => {
      const fake = await lab.afterHandshake(offer, async (peer) => {
        answer(peer, await peer.request());
        await peer.gone();
      });
      const node = await lab.openNbd(fake.path, {}, { readOnly: true });
      const error = await failureOf(node.blockStatus(0, SIZE));
      expect(error.message).to.match(message);
      expect(error.code).to.equal('io');
      expect(fake.failures).to.deep.equal([]);
    });
  }

  it('a block status of ever changing runs is kept in part', async () => {
    const runs = 100_000;
    const fake = await lab.afterHandshake({ ...STRUCTURED, size: runs * 512 }, async (peer) => {
      const request = await peer.request();
      const entries = Buffer.concat(Array.from({ length: runs }, (_, i) => entry(512, i % 2 === 0 ? 0 : 3)));
      peer.chunk(request, 5, Buffer.concat([u32(7), entries]));
      await peer.gone();
    });
    const node = await lab.openNbd(fake.path, {}, { readOnly: true });
    expect(await node.blockStatus(0, node.length)).to.include({ length: 512, data: true });
    expect(node.blockStatusSync(1024, 4096)).to.include({ length: 512, data: true });
    expect(node.blockStatusSync(90_000 * 512, 512)).to.equal(null);
  });

  it('what another client wrote where a hole was is seen at once', async () => {
    const asked: [number, number][] = [];
    let second = 3;
    const fake = await lab.afterHandshake({ ...STRUCTURED, size: 4096 }, async (peer) => {
      for (;;) {
        const request = await peer.request();
        asked.push([request.offset, request.flags]);
        const runs = [entry(1024, 0), entry(1024, second), entry(2048, 0)].slice(request.offset / 1024);
        peer.chunk(request, 5, Buffer.concat([u32(7), ...(request.flags === 0 ? runs : runs.slice(0, 1))]));
      }
    });
    const node = await lab.openNbd(fake.path, {}, { readOnly: true });
    expect(await node.blockStatus(0, 4096)).to.include({ length: 1024, data: true });
    expect(await node.blockStatus(1024, 3072)).to.include({ length: 1024, data: false, zero: true });
    second = 0;
    expect(await node.blockStatus(1024, 3072)).to.include({ length: 1024, data: true, zero: false });
    expect(await node.blockStatus(2048, 2048)).to.include({ length: 2048, data: true });
    expect(asked).to.deep.equal([
      [0, 0],
      [1024, CommandFlag.reqOne],
      [1024, CommandFlag.reqOne],
    ]);
  });

  it('an answer before the request is sent does not free its memory', async () => {
    const bytes = 8 << 20;
    let seen: Uint8Array = Buffer.alloc(0);
    const fake = await lab.afterHandshake({ size: bytes }, async (peer) => {
      const head = await peer.read(28);
      peer.write(0x67446698, 0, head.subarray(8, 16));
      seen = await peer.read(bytes);
      peer.simple(await peer.request());
      await peer.gone();
    });
    const node = await lab.openNbd(fake.path);
    const buffer = lab.host.memory.allocate(bytes);
    buffer.set(pattern(bytes));
    await node.write(0, buffer);
    const copy = Buffer.from(buffer);
    buffer.fill(0);
    lab.host.memory.free(buffer);
    while (seen.length === 0) await settle();
    expect(copy.equals(seen)).to.equal(true);
  });

  it('data out of order, in pieces, with holes, is put together', async () => {
    const content = Buffer.from(pattern(LENGTH));
    content.fill(0, 1000, 3000);
    const fake = await lab.afterHandshake(STRUCTURED, async (peer) => {
      const r = await peer.request();
      peer.data(r, r.offset + 3000, content.subarray(3000), 0);
      peer.chunk(r, Chunk.offsetHole, Buffer.concat([u64(r.offset + 1000), u32(2000)]), 0);
      peer.data(r, r.offset, content.subarray(0, 1000), 0);
      peer.chunk(r, Chunk.none);
      await peer.gone();
    });
    const node = await lab.openNbd(fake.path, {}, { readOnly: true });
    const buffer = Buffer.alloc(LENGTH, 0xee);
    await node.read(4096, buffer);
    expect(buffer.equals(content)).to.equal(true);
  });

  it('bytes that come one by one are understood', async () => {
    const content = Buffer.from(pattern(512));
    const fake = await lab.afterHandshake(STRUCTURED, async (peer) => {
      peer.socket.setNoDelay(true);
      const r = await peer.request();
      const all = Buffer.concat([
        u32(0x668e33ef),
        u16(0),
        u16(1),
        r.cookie,
        u32(8 + 100),
        u64(r.offset),
        content.subarray(0, 100),
        u32(0x668e33ef),
        u16(1),
        u16(1),
        r.cookie,
        u32(8 + 412),
        u64(r.offset + 100),
        content.subarray(100),
      ]);
      for (const byte of all) {
        peer.write(Buffer.of(byte));
        await settle();
      }
      await peer.gone();
    });
    const node = await lab.openNbd(fake.path, {}, { readOnly: true });
    const buffer = Buffer.alloc(512);
    await node.read(0, buffer);
    expect(buffer.equals(content)).to.equal(true);
  });

  it('zeroes that must be durable are, also where the server cannot make them', async () => {
    const flags: number[] = [];
    const offer = { ...PLAIN, flags: ALL_FLAGS & ~TransmissionFlag.sendWriteZeroes };
    const fake = await lab.afterHandshake(offer, async (peer) => {
      for (;;) {
        const request = await peer.request();
        if (request.command === Command.write) flags.push(request.flags);
        peer.simple(request);
      }
    });
    const node = await lab.openNbd(fake.path);
    await node.writeZeroes(0, 4096);
    await node.writeZeroes(0, 4096, { fua: true });
    expect(flags).to.deep.equal([0, CommandFlag.fua]);
  });

  it('errors of the server say where, what and why', async () => {
    const wire: [number, BlockErrorCode, string][] = [
      [1, 'permission', 'EPERM'],
      [5, 'io', 'EIO'],
      [12, 'io', 'ENOMEM'],
      [22, 'invalid-argument', 'EINVAL'],
      [28, 'no-space', 'ENOSPC'],
      [75, 'io', 'EOVERFLOW'],
      [95, 'unsupported', 'ENOTSUP'],
      [4242, 'invalid-argument', 'EINVAL'],
    ];
    const fake = await lab.afterHandshake(STRUCTURED, async (peer) => {
      for (const [error] of wire) {
        const text = Buffer.from('the disk\nis on fire');
        peer.chunk(await peer.request(), Chunk.error, Buffer.concat([u32(error), u16(text.length), text]));
      }
      await peer.gone();
    });
    const node = await lab.openNbd(fake.path, {}, { cache: { noFlush: true } });
    for (const [, code, errno] of wire) {
      const error = await failureOf(node.write(512, new Uint8Array(1024)));
      expect(error).to.include({ code, errno, path: node.filename, offset: 512, length: 1024, operation: 'write' });
      expect(error.message).to.contain('server reported: the disk is on fire');
    }
  });

  it('an error in the middle of a read does not end the connection', async () => {
    const fake = await lab.afterHandshake(STRUCTURED, async (peer) => {
      const bad = await peer.request();
      peer.data(bad, bad.offset, Buffer.alloc(512), 0);
      peer.chunk(bad, Chunk.errorOffset, Buffer.concat([u32(5), u16(0), u64(bad.offset + 512)]), 0);
      peer.data(bad, bad.offset + 1024, Buffer.alloc(512));
      const good = await peer.request();
      peer.data(good, good.offset, Buffer.alloc(good.length, 5));
      await peer.gone();
    });
    const node = await lab.openNbd(fake.path, {}, { readOnly: true });
    expect((await failureOf(node.read(0, new Uint8Array(2048)))).errno).to.equal('EIO');
    const buffer = new Uint8Array(512);
    await node.read(0, buffer);
    expect(buffer[511]).to.equal(5);
  });
});
