// Several images in one call of info, map, check and snapshot -l.

import { expect } from 'chai';
import { Workshop } from '../support/cli.js';

describe('command line: several images in one call', () => {
  let shop: Workshop;

  before(async () => {
    shop = await Workshop.open();
    for (const name of ['a', 'b']) shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', `${name}.qcow2`, '1M');
    shop.must('qemu-img', 'create', '-q', '-f', 'raw', 'c.raw', '1M');
  });
  after(() => shop.remove());

  it('info prints what it prints of each, separated by an empty line', () => {
    const [a, c] = ['a.qcow2', 'c.raw'].map((image) => shop.ours('info', image).stdout);
    expect(shop.ours('info', 'a.qcow2', 'c.raw').stdout).to.equal(`${a}\n${c}`);
  });

  for (const verb of ['info', 'map', 'check']) {
    it(`${verb} --output=json is an array of what it is of each`, () => {
      const each = ['a.qcow2', 'b.qcow2'].map((image) => JSON.parse(shop.ours(verb, '--output=json', image).stdout));
      const all = shop.ours(verb, '--output=json', 'a.qcow2', 'b.qcow2');
      expect(all.code).to.equal(0);
      expect(JSON.parse(all.stdout)).to.deep.equal(each);
    });
  }

  it('snapshot -l lists those of each behind its name', () => {
    for (const image of ['a.qcow2', 'b.qcow2']) shop.must('qemu-img', 'snapshot', '-c', `of ${image}`, image);
    const [a, b] = ['a.qcow2', 'b.qcow2'].map((image) => shop.ours('snapshot', '-l', image).stdout);
    expect(a).to.include('of a.qcow2');
    const { code, stdout, stderr } = shop.ours('snapshot', '-l', 'a.qcow2', 'gone', 'c.raw', 'b.qcow2');
    expect(stdout).to.equal(`a.qcow2:\n${a}\ngone:\n\nc.raw:\n\nb.qcow2:\n${b}`);
    expect([code, stderr]).to.deep.equal([1, shop.ours('snapshot', '-l', 'gone').stderr]);
    expect(shop.shim('qemu-img', 'snapshot', '-l', 'a.qcow2', 'b.qcow2').code).to.equal(1);
    const refused = shop.ours('snapshot', '-c', 'x', 'a.qcow2', 'b.qcow2');
    expect([refused.code, refused.stderr.split('\n')[0]]).to.deep.equal([
      1,
      'diskwright: Expecting one image file name',
    ]);
  });

  it('map and check put the name before each', () => {
    for (const verb of ['map', 'check']) {
      expect(shop.ours(verb, 'a.qcow2', 'b.qcow2').stdout).to.match(/^a\.qcow2:\n[\s\S]*\n\nb\.qcow2:\n/);
    }
  });

  it('check ends with the worst outcome, and checks the others all the same', () => {
    const { code, stdout, stderr } = shop.ours('check', 'gone.qcow2', 'a.qcow2');
    expect(code).to.equal(1);
    expect(stderr).to.include("Could not open 'gone.qcow2'");
    expect(stdout).to.include('No errors were found');
    expect(shop.ours('check', 'a.qcow2', 'c.raw').code).to.equal(63);
  });

  it('info tells the images that can be opened', () => {
    const [a, b] = ['a.qcow2', 'b.qcow2'].map((image) => shop.ours('info', image).stdout);
    const { code, stdout, stderr } = shop.ours('info', 'a.qcow2', 'gone.qcow2', 'b.qcow2');
    expect({ code, stdout }).to.deep.equal({ code: 1, stdout: `${a}\n${b}` });
    expect(stderr).to.match(/^diskwright: Could not open 'gone.qcow2': /);
    const json = shop.ours('info', '--output=json', 'gone.qcow2', 'b.qcow2');
    expect(json.code).to.equal(1);
    expect(JSON.parse(json.stdout)).to.have.length(1).with.nested.property('[0].filename', 'b.qcow2');
  });

  it('map lists the images that can be opened, and has null in the array of one that cannot', () => {
    const { code, stdout } = shop.ours('map', 'gone.qcow2', 'a.qcow2');
    expect(code).to.equal(1);
    expect(stdout).to.equal(`gone.qcow2:\n\na.qcow2:\n${shop.ours('map', 'a.qcow2').stdout}`);
    const [gone, a] = JSON.parse(shop.ours('map', '--output=json', 'gone.qcow2', 'a.qcow2').stdout);
    expect(gone).to.deep.equal([null]);
    expect(a).to.deep.equal(JSON.parse(shop.ours('map', '--output=json', 'a.qcow2').stdout));
  });

  it('of one image, nothing is printed where it cannot be opened', () => {
    for (const verb of ['info', 'map', 'check']) {
      expect(shop.ours(verb, '--output=json', 'gone.qcow2')).to.include({ code: 1, stdout: '' });
    }
  });
});
