import { expect } from 'chai';
import { printable, printableLines } from '../../src/util/foreign-text.js';
import { decodeName, encodeName, hasRawBytes, nameLength, withoutRawBytes } from '../../src/util/name-bytes.js';

describe('names as bytes', () => {
  it('come out as they went in, whatever they are', () => {
    const seed = Number(process.env['DISKWRIGHT_SEED'] ?? 7);
    let state = seed;
    const random = (): number => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return state >>> 16;
    };
    // Bytes that lie at the edges of what is valid.
    const edges = [
      0x2f, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff,
    ];
    for (let round = 0; round < 5000; round++) {
      const bytes = Buffer.from(Array.from({ length: random() % 9 }, () => edges[random() % edges.length]));
      const text = decodeName(bytes);
      expect(encodeName(text).equals(bytes), `seed ${seed}: ${bytes.toString('hex')}`).to.equal(true);
      expect(nameLength(text)).to.equal(bytes.length);
      expect(hasRawBytes(text)).to.equal(!bytes.equals(Buffer.from(bytes.toString())));
    }
  });

  it('keep a byte order mark, and characters beyond the first plane', () => {
    expect(decodeName(Buffer.from('\ufeffa'))).to.equal('\ufeffa');
    expect(encodeName('😀\udcff').toString('hex')).to.equal('f09f9880ff');
  });

  it('are refused where text has an unpaired surrogate', () => {
    for (const text of ['\ud800', 'a\udc00b', '\udc7f', '\udd00']) {
      expect(() => encodeName(text)).to.throw('unpaired surrogate');
    }
  });

  it('lose their bytes in JSON, a sequence at a time as in QEMU', () => {
    const lossy = (hex: string): string => withoutRawBytes(decodeName(Buffer.from(hex, 'hex')));
    expect(lossy('78ffc379')).to.equal('x\ufffd\ufffdy');
    expect(lossy('edb28071f4908080c080c3a9')).to.equal('\ufffdq\ufffd\0é');
  });
});

describe('foreign text', () => {
  it('has its control characters shown', () => {
    expect(printable('a\x1b[31mb\nc\t\x7f\u009b\u202e\udcff é😀')).to.equal(
      'a\\x1b[31mb\\nc\\t\\x7f\\u009b\\u202e\\xff é😀',
    );
    expect(printableLines('a\nb\t\r\x1b')).to.equal('a\nb\t\\r\\x1b');
  });
});
