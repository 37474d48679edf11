// Requests of an open image with arguments that TypeScript forbids: each is refused before it reaches the disk. On the real host.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { openRealHost } from '../../src/host/real/index.js';
import type { Image } from '../../src/library/image.js';
import { Workspace } from '../../src/library/workspace.js';
import type { BlockError } from '../../src/util/errors.js';
import { failureOf } from '../drivers/support.js';

const SIZE = 1 << 20;
// biome-ignore lint/suspicious/noExplicitAny: what is tested is what TypeScript forbids.
type Wrong = any;

const detached = (): Uint8Array => {
  const bytes = new Uint8Array(512);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
};

/** No buffers, each with the words that it is refused in. */
const BUFFERS: readonly (readonly [string, () => Wrong, RegExp])[] = [
  ['nothing', () => undefined, /not undefined/],
  ['null', () => null, /not null/],
  ['text', () => 'hello', /not string/],
  ['a list', () => [1, 2, 3], /not Array/],
  ['a number', () => 512, /not number/],
  ['wider elements', () => new Uint16Array(256), /not Uint16Array/],
  ['floats', () => new Float64Array(64), /not Float64Array/],
  ['a DataView', () => new DataView(new ArrayBuffer(512)), /not DataView/],
  ['a bare ArrayBuffer', () => new ArrayBuffer(512), /not ArrayBuffer/],
  ['shared memory', () => new Uint8Array(new SharedArrayBuffer(512)), /over a SharedArrayBuffer/],
  ['detached memory', detached, /detached/],
];
const NUMBERS: readonly Wrong[] = [undefined, null, '0', 0n, Number.NaN, -1, -0.5, 0.5, 2 ** 53, Infinity, {}, [0]];
const FLAGS: readonly (readonly [Wrong, string])[] = [
  [{ fau: true }, 'unknown-option'],
  [{ serialised: true }, 'unknown-option'],
  [{ fua: 1 }, 'invalid-argument'],
  [true, 'invalid-argument'],
  [null, 'invalid-argument'],
];

describe('requests with wrong arguments', () => {
  const folder = mkdtempSync(join(tmpdir(), 'diskwright-requests-'));
  const workspace = new Workspace(openRealHost());
  let image: Wrong;
  before(async () => {
    const name = join(folder, 'disk.qcow2');
    await workspace.create(name, { driver: 'qcow2', size: SIZE });
    image = await workspace.open(name);
    await image.write(0, new Uint8Array(4096).fill(9));
  });
  after(async () => {
    await workspace.close();
    rmSync(folder, { recursive: true });
  });

  const unchanged = async (): Promise<void> => {
    const bytes = new Uint8Array(4096);
    await (image as Image).read(0, bytes);
    expect(bytes.every((byte) => byte === 9)).to.equal(true);
  };

  for (const [title, make, words] of BUFFERS) {
    it(`are refused where the buffer is ${title}`, async () => {
      // To a read, a number is how much it is to read.
      for (const request of typeof make() === 'number' ? ['write'] : ['read', 'write']) {
        const error = await failureOf(image[request](0, make()));
        expect(error.code).to.equal('invalid-argument');
        if (request === 'read' && make() === undefined) {
          // Nothing says whether it was to be a length or a buffer.
          expect(error.message).to.match(/^read: the second argument, 'length' .* or 'buffer', is missing$/);
          continue;
        }
        expect(error.message).to.match(words);
        expect(error.message).to.match(new RegExp(`^${request}: 'buffer' is a Uint8Array or Buffer`));
      }
      await unchanged();
    });
  }

  for (const value of NUMBERS) {
    it(`are refused where an offset or a length is ${typeof value} ${String(value)}`, async () => {
      image.limit({ 'bps-total': SIZE });
      const calls = [
        () => image.read(value, new Uint8Array(512)),
        () => image.write(value, new Uint8Array(512)),
        () => image.writeZeroes(value, 512),
        () => image.writeZeroes(0, value),
        () => image.discard(value, 512),
        () => image.discard(0, value),
      ];
      for (const call of calls) expect((await failureOf(call())).code).to.equal('invalid-argument');
      // The throttle was charged nothing for them, least of all NaN.
      await unchanged();
      image.limit({});
    });
  }

  for (const [flags, code] of FLAGS) {
    it(`are refused with the flags ${JSON.stringify(flags)}`, async () => {
      expect((await failureOf(image.write(0, new Uint8Array(512), flags))).code).to.equal(code);
      expect((await failureOf(image.writeZeroes(0, 512, flags))).code).to.equal(code);
      await unchanged();
    });
  }

  it('are taken with a Buffer, a part of a buffer, and nothing at all', async () => {
    await image.write(8192, Buffer.from('hello'));
    const bytes = new Uint8Array(16);
    await image.read(8192, bytes.subarray(3, 8));
    expect(Buffer.from(bytes).toString('latin1')).to.equal('\0\0\0hello\0\0\0\0\0\0\0\0');
    await image.write(0, new Uint8Array(0));
    await image.read(SIZE, new Uint8Array(0));
  });

  for (const request of ['read', 'write']) {
    it(`fail as one error where the memory goes away during a ${request}`, async () => {
      const bytes = new Uint8Array(SIZE / 2).fill(3);
      const running = image[request](SIZE / 2, bytes);
      structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
      const code = await running.then(
        () => 'done',
        (error: BlockError) => error.code,
      );
      // Refused, or done before it went: never a part, a crash or an internal error.
      expect(code).to.be.oneOf(['done', 'invalid-argument']);
      if (request === 'read' || code !== 'done') return;
      const written = new Uint8Array(SIZE / 2);
      await image.read(SIZE / 2, written);
      expect(written.every((byte) => byte === 3)).to.equal(true);
    });
  }
});
