// Sizes in and out, as qemu-img has them.

import { expect } from 'chai';
import { formatShare, formatSize, INT64_MAX, parseSize, parseWholeNumber } from '../../src/util/size.js';

describe('sizes', () => {
  const taken: [string, number][] = [
    ['0', 0],
    ['512', 512],
    ['+5', 5],
    ['1b', 1],
    ['1B', 1],
    ['1k', 1024],
    ['0x1k', 1024],
    ['+0X10M', 16 * 1024 ** 2],
    ['1K', 1024],
    ['1.5k', 1536],
    ['0.1k', 102],
    ['1.k', 1024],
    ['1.5G', 1610612736],
    ['1.0', 1],
    ['1024.', 1024],
    ['  7', 7],
    ['0.0b', 0],
    [`${'0'.repeat(60)}5`, 5],
    ['2T', 2 ** 41],
    ['7P', 7 * 2 ** 50],
    ['0x10', 16],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
  ];
  for (const [text, bytes] of taken) {
    it(`reads ${text}`, () => {
      expect(parseSize(text)).to.equal(BigInt(bytes));
    });
  }

  for (const text of [
    '',
    'k',
    '-1',
    '1.5',
    '1.5X',
    '1e3',
    '1kB',
    '0x1kB',
    '0x1.8',
    '1KiB',
    '1 k',
    '.5k',
    '1,5',
    'inf',
    '0x',
    '1.5b',
  ]) {
    it(`refuses '${text}' as qemu-img does`, () => {
      expect(parseSize(text)).to.equal(null);
    });
  }

  for (const text of ['8E', '9'.repeat(400), '0xffffffffffffffff', `${'9'.repeat(30)}E`]) {
    it(`reads ${text.slice(0, 20)} as beyond 63 bits`, () => {
      expect(parseSize(text)! > INT64_MAX).to.equal(true);
    });
  }

  const numbers: [string, bigint | null][] = [
    ['16', 16n],
    [' 16', 16n],
    ['0x10', 16n],
    ['020', 16n],
    ['-1', -1n],
    ['08', null],
    ['1k', null],
    ['', null],
    ['1.0', null],
    ['1 ', null],
  ];
  for (const [text, number] of numbers) {
    it(`reads the number '${text}' as strtoull does`, () => {
      expect(parseWholeNumber(text)).to.equal(number);
    });
  }

  // As `qemu-img info` printed them.
  const printed: [number, string][] = [
    [0, '0 B'],
    [512, '512 B'],
    [999, '999 B'],
    [1000, '0.977 KiB'],
    [1024, '1 KiB'],
    [1536, '1.5 KiB'],
    [102400, '100 KiB'],
    [1023488, '1e+03 KiB'],
    [1024000, '0.977 MiB'],
    [1048576, '1 MiB'],
    [1049088, '1 MiB'],
    [1179648, '1.12 MiB'],
    [1000000000, '954 MiB'],
    [1073217536, '1 GiB'],
    [2000000000, '1.86 GiB'],
    [20000000000000, '18.2 TiB'],
    [Number.MAX_SAFE_INTEGER, '8 PiB'],
  ];
  for (const [bytes, text] of printed) {
    it(`prints ${bytes} as ${text}`, () => {
      expect(formatSize(bytes)).to.equal(text);
    });
  }

  for (const [part, total, text] of [
    [0, 2 ** 30, '0.00 GiB'],
    [2 ** 29, 2 ** 30, '0.50 GiB'],
    [1018 * 2 ** 20, 2 ** 30, '0.99 GiB'],
    [2 ** 20, 50 * 2 ** 20, '1.0 MiB'],
    [7, 300 * 2 ** 20, '0 MiB'],
    [100, 512, '100 B'],
    [0, 0, '0 B'],
  ] as const) {
    it(`prints ${part} of ${total} as ${text}`, () => {
      expect(formatShare(part, total)).to.equal(text);
    });
  }
});
