// vmdk: the numbers and names of a descriptor, read as qemu-img reads them.

import { expect } from 'chai';
import {
  encodeDescriptor,
  fitsQuotes,
  parseDescriptor,
  parseExtents,
} from '../../../src/drivers/formats/vmdk/descriptor.js';
import { BlockError } from '../../../src/util/errors.js';

const FLAT = 'RW 2048 FLAT "e" 0';
const text = (id: string, parent = 'parentCID=ffffffff', extent = FLAT): string =>
  `# Disk DescriptorFile\nversion=1\n${id}\n${parent}\n createType="monolithicFlat"\n${extent}\n`;

/** What `qemu-img info` says of each. */
const NUMBERS: Readonly<Record<string, number>> = {
  'CID= fffffffe': 0xffff_fffe,
  'CID=  12  ': 0x12,
  'CID=\t12': 0x12,
  'CID=\n12': 0x12,
  'CID=0x12': 0x12,
  'CID=0X12': 0x12,
  'CID=0x': 0,
  'CID=0xg': 0,
  'CID=123456789': 0x2345_6789,
  'CID=0000fffffffe': 0xffff_fffe,
  'CID=123456789abcdef0': 0x9abc_def0,
  'CID=123456789abcdef01': 0xffff_ffff,
  'CID=-1': 0xffff_ffff,
  'CID=+1': 1,
  'CID=12xyz': 0x12,
  '  CID=12': 0x12,
  '#CID=1\nCID=2': 1,
  'CID=1\nCID=2': 1,
};

describe('vmdk: descriptors', () => {
  for (const [line, value] of Object.entries(NUMBERS)) {
    it(`name a content ID in ${JSON.stringify(line)}, and a parent's`, () => {
      const all = text(line);
      const { cid } = parseDescriptor(all, '/d');
      expect(cid.value).to.equal(value);
      // Other digits can be put in its place, and are read again.
      const put = all.slice(0, cid.at) + '7'.padStart(cid.digits, '0') + all.slice(cid.at + cid.digits);
      expect(parseDescriptor(put, '/d').cid.value).to.equal(7);
      const { parentCid } = parseDescriptor(text('CID=5', line.replaceAll('CID', 'parentCID')), '/d');
      expect(parentCid.value).to.equal(value);
    });
  }

  it("are not read with the parent's ID as their own, and are none where an ID is no number", () => {
    expect(parseDescriptor('parentCID=11\nCID=22', '/d').cid.value).to.equal(0x22);
    for (const bad of ['CID=', 'CID =12', 'CID=zz', 'parentCID=12', 'CID=1\nparentCID=zz']) {
      const error = errorOf(() => parseDescriptor(`${bad}\n#`, '/d'));
      expect(error.code, bad).to.equal('invalid-image');
    }
  });

  it('have extents with signs, and without a space behind the name', () => {
    for (const extent of ['RW +2048 FLAT "e" 0', 'RW 2048 FLAT "e" +8', 'RW 2048 FLAT "e"8']) {
      const all = text('CID=1', undefined, extent);
      const [{ length, offset }] = parseExtents(all, parseDescriptor(all, '/d'), '/d');
      expect([length, offset]).to.deep.equal([1 << 20, extent.endsWith('8') ? 4096 : 0]);
    }
  });

  it('take all characters in names but quotes, line ends and zeroes', () => {
    for (let code = 0; code < 128; code++) {
      const filename = `a${String.fromCharCode(code)}b`;
      expect(fitsQuotes(filename), String(code)).to.equal(![0, 10, 13, 34].includes(code));
      if (!fitsQuotes(filename)) continue;
      const extents = [{ kind: 'FLAT' as const, length: 512, filename, offset: 0 }];
      const made = { cid: 1, parentCid: 1, createType: 'monolithicFlat', backingFile: null, extents, size: 512 };
      const bytes = encodeDescriptor({ ...made, hwVersion: '4', adapterType: 'ide', toolsVersion: '0' });
      const all = Buffer.from(bytes).toString('latin1');
      expect(parseExtents(all, parseDescriptor(all, '/d'), '/d')[0].filename).to.equal(filename);
    }
  });
});

function errorOf(action: () => unknown): BlockError {
  try {
    action();
  } catch (error) {
    if (error instanceof BlockError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
