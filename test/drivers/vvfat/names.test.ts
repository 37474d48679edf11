// Short names and long ones. What short names qemu-img 7.2 gives was seen in the directories that it makes.

import { expect } from 'chai';
import { parseFatName } from '../../../src/drivers/protocols/vvfat/name.js';
import { checksumOf, longNameBytes, ShortNames } from '../../../src/drivers/protocols/vvfat/names.js';
import { BlockError } from '../../../src/util/errors.js';

/** Each in a directory of its own. */
const SHORT: readonly [string, string][] = [
  ['a.txt', 'A       TXT'],
  ['UPPER.TXT', 'UPPER   TXT'],
  ['noext', 'NOEXT      '],
  ['12345678.123', '12345678123'],
  ['Long File Name.text', 'LONGFI~1TEX'],
  ['abcdefghi.txt', 'ABCDEF~1TXT'],
  ['x.abcd', 'X~1     ABC'],
  ['two.dots.txt', 'TWO~1   TXT'],
  ['a..b', 'A~1     B  '],
  ['a.b.', 'A~1        '],
  ['foo.', 'FOO        '],
  ['.hidden', 'HIDDEN~1   '],
  ['.a.b', 'A~1     B  '],
  ['..x', 'X~1        '],
  ['.x.', 'X~1        '],
  ['...', '~1         '],
  ['  ', '~1         '],
  [' lead', 'LEAD~1     '],
  ['a b.c d', 'AB~1    CD '],
  ['a+b', 'AB~1       '],
  ['a\x01b', 'AB~1       '],
  ["!#$%&'()-", "!#$%&'~1   "],
  ['@^_`{}~', '@^_`{}~    '],
  ['é.txt', 'TXT~1      '],
  ['file.é', 'FILE~1     '],
  ['Ünïcödé ☃ name.txt', 'NCDNAM~1TXT'],
  ['😀', '~1         '],
];

describe('vvfat: short names', () => {
  for (const [name, short] of SHORT) {
    it(`'${name.replace('\x01', '\\x01')}' is '${short}'`, () => expect(new ShortNames().take(name)).to.equal(short));
  }

  it('are unique in their directory, and numbered from 1', () => {
    const names = new ShortNames();
    const given = ['Aa', 'aA', 'a b', 'AB~1', 'ab', 'ab.', 'a~1'].map((name) => names.take(name));
    expect(given.map((name) => name?.trim())).to.deep.equal(['AA', 'AA~1', 'AB~1', 'AB~1~1', 'AB', 'AB~2', 'A~1']);
  });

  it('are cut further for longer numbers', () => {
    const names = new ShortNames();
    const given = Array.from({ length: 100 }, (_, index) => names.take(`some name ${index}.txt`));
    expect([given[8], given[9], given[98], given[99]]).to.deep.equal([
      'SOMENA~9TXT',
      'SOMEN~10TXT',
      'SOMEN~99TXT',
      'SOME~100TXT',
    ]);
    expect(new Set(given).size).to.equal(100);
  });
});

describe('vvfat: long names', () => {
  const parts = (name: string, short: string) => {
    const bytes = longNameBytes(name, Buffer.from(short));
    return Array.from({ length: bytes.length / 32 }, (_, index) => bytes.subarray(index * 32, index * 32 + 32));
  };

  it('have the sum of the short name that the specification defines', () => {
    // Of an image that mtools wrote: LONGFI~1.TEX.
    expect(checksumOf(Buffer.from('LONGFI~1TEX'))).to.equal(0xcf);
  });

  it('stand with their end first, filled up behind a zero', () => {
    const [last, first] = parts('Long File Name.text', 'LONGFI~1TEX');
    expect([last[0], first[0]]).to.deep.equal([0x42, 0x01]);
    expect([last[11], last[13]]).to.deep.equal([0x0f, 0xcf]);
    expect(Buffer.from(last.subarray(1, 11)).toString('utf16le')).to.equal('e.tex');
    expect([...last.subarray(14, 26)]).to.deep.equal([0x74, 0, 0, 0, ...new Array(8).fill(0xff)]);
  });

  it('have no zero behind 13 characters', () => {
    const [only, ...others] = parts('thirteen.char', 'THIRTE~1CHA');
    expect(others).to.deep.equal([]);
    expect(Buffer.from(only.subarray(28)).toString('utf16le')).to.equal('ar');
  });
});

describe('vvfat: file names', () => {
  const NAMES: readonly [string, object][] = [
    ['fat:d', { dir: 'd' }],
    ['fat:/a/b c', { dir: '/a/b c' }],
    ['fat:12:d', { dir: 'd', 'fat-type': 12 }],
    ['fat:32:floppy:rw:d', { dir: 'd', 'fat-type': 32, floppy: true, rw: true }],
    ['fat:rw:floppy:16:d', { dir: 'd', 'fat-type': 16, floppy: true, rw: true }],
    // What is no word of the name is the folder's.
    ['fat:13:d', { dir: '13:d' }],
    ['fat:./rw:d', { dir: './rw:d' }],
  ];
  for (const [name, options] of NAMES) {
    it(name, () => {
      const all = { driver: 'vvfat', 'fat-type': 0, floppy: false, rw: false, ...options };
      expect(parseFatName(name)).to.deep.equal(all);
    });
  }

  for (const name of ['fat:', 'fat:rw:', 'fat:12:16:d', 'd', 'fat:a\0b']) {
    it(`${name.replace('\0', '\\0')} is refused`, () => {
      expect(() => parseFatName(name))
        .to.throw(BlockError)
        .with.property('code', 'invalid-argument');
    });
  }
});
