// info, map and check say what qemu-img says, byte for byte, of images of all kinds; check also of damaged ones.

import { expect } from 'chai';
import { asOurs, Workshop } from '../support/cli.js';
import { DAMAGES, KINDS, Surgery } from './images.js';

describe('command line beside qemu-img: images of all kinds', function () {
  this.timeout(120_000);
  let shop: Workshop;

  before(async () => {
    shop = await Workshop.open();
  });
  after(() => shop.remove());

  const same = (...args: string[]): void => {
    expect(shop.ours(...args), args.join(' ')).to.deep.equal(asOurs(shop.qemuImg(...args)));
  };

  for (const kind of KINDS) {
    it(kind.name, () => {
      const image = kind.make(shop);
      for (const output of ['human', 'json']) {
        same('info', `--output=${output}`, '--backing-chain', image);
        same('map', `--output=${output}`, image);
        same('check', `--output=${output}`, image);
      }
    });
  }

  for (const format of ['vmdk', 'qed', 'qcow2']) {
    it(`map of ${format} over a shorter backing file`, () => {
      const size = 700 * 1024 + 512;
      shop.must('qemu-img', 'create', '-q', '-f', format, `below.${format}`, String(size));
      shop.qemuIo(`below.${format}`, 'write 64k 600k');
      shop.must(
        'qemu-img',
        'create',
        '-q',
        '-f',
        format,
        '-b',
        `below.${format}`,
        '-F',
        format,
        `above.${format}`,
        '20M',
      );
      shop.qemuIo(`above.${format}`, 'write 300k 4k', 'write 5M 60k');
      same('map', '--output=json', `above.${format}`);
      same('map', '--output=human', `above.${format}`);
    });
  }

  for (const [name, operate, options = ''] of DAMAGES) {
    it(`check of ${name}`, () => {
      const image = 'damaged.qcow2';
      const more = options === '' ? [] : ['-o', options];
      shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', ...more, image, '8M');
      shop.qemuIo(image, 'write -P 1 0 200k', 'write -P 3 3M 256k');
      const surgery = new Surgery(shop.path(image));
      operate(surgery);
      surgery.close();
      same('check', image);
      same('check', '--output=json', image);
    });
  }

  it('a file cut before its L1 table is refused, where qemu-img reads zeroes', () => {
    const image = 'cut.qcow2';
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', image, '8M');
    const surgery = new Surgery(shop.path(image));
    surgery.truncate(0x20000);
    surgery.close();
    const { code, stderr } = shop.ours('check', image);
    expect(code).to.equal(1);
    expect(stderr).to.equal(`diskwright: Could not open '${image}': Active L1 table is outside of the file\n`);
  });

  it('check with -q says nothing but findings', () => {
    same('check', '-q', 'plain.qcow2');
    same('check', '-q', '--output=json', 'plain.qcow2');
  });
});
