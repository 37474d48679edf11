// Reserved bits and fields of qcow2, beside qemu-img: what it refuses we refuse, what its check reports ours reports, in its words and
// with its exit code; what it reads we read to the same bytes. (Where it can repair and we cannot, we refuse: see the list.)

import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { asOurs, Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

const MASK = (1n << 56n) - 512n;
const flip = (bit: number) => (value: bigint) => value ^ (1n << BigInt(bit));
const set = (wanted: bigint | number) => () => BigInt(wanted);

/** Where the parts of an image with two bitmaps lie. */
function places(image: Buffer): Record<string, number> {
  const pointer = (at: number): number => Number(image.readBigUInt64BE(at) & MASK);
  let extension = image.readUInt32BE(100);
  while (image.readUInt32BE(extension) !== 0x23852875)
    extension += 8 + Math.ceil(image.readUInt32BE(extension + 4) / 8) * 8;
  const l1 = pointer(40);
  const directory = pointer(extension + 24);
  return { l1, l2: pointer(l1), reftable: pointer(48), extension, directory, table: pointer(directory) };
}

type Edit = (at: Record<string, number>) => [number, number, (value: bigint) => bigint];

/** Not among them: extra data of bitmaps, which QEMU does not know and Diskwright keeps (docs/formats/qcow2.md). */
const EDITS: Record<string, Edit> = {
  'bitmap flag 31': ({ directory }) => [directory + 12, 4, flip(31)],
  'a bitmap of type 2': ({ directory }) => [directory + 16, 1, set(2)],
  'a bitmap of 2^32 bytes': ({ directory }) => [directory + 17, 1, set(32)],
  'a bitmap table that is too long': ({ directory }) => [directory + 8, 4, set(2)],
  'a bitmap table behind the end': ({ directory }) => [directory, 8, set(1n << 40n)],
  'bitmap bits behind the end': ({ table }) => [table, 8, set(1n << 40n)],
  'bitmap entry bit 56': ({ table }) => [table, 8, flip(56)],
  'bitmap entry bit 1': ({ table }) => [table, 8, flip(1)],
  'a reserved field of the bitmaps extension': ({ extension }) => [extension + 12, 4, set(1)],
  'a bitmap directory of no bytes': ({ extension }) => [extension + 16, 8, set(0)],
  'a bitmap directory without end': ({ extension }) => [extension + 16, 8, set(1n << 40n)],
  'too many bitmaps': ({ extension }) => [extension + 8, 4, set(65536)],
  'autoclear bit 1 without a data file': () => [88, 8, set(3)],
  'autoclear bit 40': () => [88, 8, flip(40)],
  'incompatible bit 63': () => [72, 8, flip(63)],
  'compatible bit 1': () => [80, 8, flip(1)],
  'refcount table bit 0': ({ reftable }) => [reftable, 8, flip(0)],
  'refcount table bit 8': ({ reftable }) => [reftable, 8, flip(8)],
  'L1 bit 1': ({ l1 }) => [l1, 8, flip(1)],
  'L1 bit 57': ({ l1 }) => [l1, 8, flip(57)],
  'L2 bit 1': ({ l2 }) => [l2, 8, flip(1)],
  'L2 bit 61': ({ l2 }) => [l2, 8, flip(61)],
  'L2 bit 57 of a hole': ({ l2 }) => [l2 + 8 * 40, 8, flip(57)],
};

describe('qcow2: what is reserved', () => {
  let bench: Workshop;
  let image: Buffer;
  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    bench = await Workshop.open();
    bench.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'image.qcow2', '4M');
    for (const name of ['b0', 'b1']) bench.must('qemu-img', 'bitmap', '--add', 'image.qcow2', name);
    bench.qemuIo('image.qcow2', 'write -P 5 0 256k', 'write -z 1M 128k');
    image = readFileSync(bench.path('image.qcow2'));
  });
  after(() => bench?.remove());

  for (const [what, edit] of Object.entries(EDITS)) {
    it(`is answered as qemu-img does: ${what}`, () => {
      const bytes = Buffer.from(image);
      const [at, width, change] = edit(places(image));
      const old = BigInt(`0x${bytes.subarray(at, at + width).toString('hex')}`);
      const changed = change(old)
        .toString(16)
        .padStart(width * 2, '0');
      Buffer.from(changed, 'hex').copy(bytes, at);
      for (const words of [['check'], ['convert', '-O', 'raw']]) {
        const answers = (['qemuImg', 'ours'] as const).map((who) => {
          writeFileSync(bench.path('x.qcow2'), bytes);
          writeFileSync(bench.path('out'), '');
          const { code, stderr } = bench[who](...words, '-f', 'qcow2', 'x.qcow2', ...(words.length > 1 ? ['out'] : []));
          const raw = code === 0 ? readFileSync(bench.path('out')).toString('latin1').replace(/\0+$/, '') : '';
          return { ...asOurs({ code, stdout: '', stderr }), raw };
        });
        expect(answers[1], words[0]).to.deep.equal(answers[0]);
      }
    });
  }
});
