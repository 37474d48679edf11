// `stream --backing-file`: the name goes into the header and is checked, also where the base is the image's backing file already.

import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

describe('command line: the name that stream gives the base', function () {
  this.timeout(60_000);
  let shop: Workshop;

  before(async function () {
    requirePeer(this, 'qemu-img');
    shop = await Workshop.open();
  });
  beforeEach(() => {
    const make = (name: string, over?: string): void => {
      const below = over === undefined ? [] : ['-b', over, '-F', 'qcow2'];
      shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', ...below, name, '2M');
    };
    make('base');
    make('mid', 'base');
    make('near', 'base');
    make('far', 'mid');
  });
  after(() => shop.remove());

  function nameIn(image: string): string {
    const info = JSON.parse(shop.must('qemu-img', 'info', '--output=json', image)) as Record<string, string>;
    return info['backing-filename'];
  }

  for (const [image, where] of [
    ['near', 'is the backing file already'],
    ['far', 'lies below another image'],
  ]) {
    it(`is written where the base ${where}`, () => {
      const { code, stderr } = shop.ours('stream', '-q', '--base=base', '--backing-file=./base', image);
      expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
      expect(nameIn(image)).to.equal('./base');
      shop.must('qemu-img', 'check', '-q', image);
    });

    it(`is refused where it leads elsewhere and the base ${where}`, () => {
      const kept = readFileSync(shop.path(image));
      const { code, stderr } = shop.ours('stream', '-q', '--base=base', '--backing-file=nonsuch', image);
      expect(code).to.equal(1);
      expect(stderr).to.equal(`diskwright: ${image}: The backing file name 'nonsuch' would not lead to 'base'\n`);
      expect(readFileSync(shop.path(image)).equals(kept)).to.equal(true);
    });
  }

  it('stays as it is where none is given', () => {
    expect(shop.ours('stream', '-q', '--base=base', 'near')).to.include({ code: 0, stderr: '' });
    expect(nameIn('near')).to.equal('base');
  });
});
