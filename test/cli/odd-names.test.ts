// Every command that writes the name of a backing file writes one that is found again, also where the files have odd names.

import { expect } from 'chai';
import { Workshop } from '../support/cli.js';

describe('command line: odd names of backing files', function () {
  this.timeout(60_000);
  let shop: Workshop;

  beforeEach(async () => {
    shop = await Workshop.open();
    const overlay = (...args: string[]) => shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', ...args);
    overlay('./b:1', '1M');
    overlay('-b', './b:1', '-F', 'qcow2', './m:2');
    overlay('-b', './m:2', '-F', 'qcow2', 'top');
    shop.qemuIo('./b:1', 'write -P 1 0 64k');
    shop.qemuIo('./m:2', 'write -P 2 64k 64k');
    shop.must('qemu-img', 'convert', '-O', 'raw', 'top', 'before');
  });
  afterEach(() => shop.remove());

  /** Reads as before, and hangs on `backing`. */
  function same(image: string, backing: string): void {
    shop.must('qemu-img', 'compare', image, 'before');
    const info = JSON.parse(shop.must('qemu-img', 'info', '--output=json', image)) as Record<string, string>;
    expect(info['backing-filename']).to.equal(backing);
  }

  const run = (...args: string[]): void => {
    expect(shop.ours(...args), args.join(' ')).to.include({ code: 0, stderr: '' });
  };

  it('stream', () => {
    run('stream', '--bottom', './m:2', 'top');
    same('top', './b:1');
  });

  it('stream to a base in another way of writing', () => {
    run('stream', '--base', shop.path('b:1'), 'file:top');
    same('top', './b:1');
  });

  it('mirror and backup of the top alone, and of nothing', () => {
    run('mirror', '--sync=top', '--target=copy1', 'top');
    same('copy1', './m:2');
    run('backup', '--sync=top', '--target=./c:2', 'top');
    same('./c:2', './m:2');
    run('mirror', '--sync=none', '--target=copy3', './m:2');
    same('copy3', './m:2');
  });

  it('a name that was asked for and leads elsewhere, before anything is copied', () => {
    for (const name of ['b:1', 'before', 'nowhere', 'json:{']) {
      const { code, stderr } = shop.ours('stream', '--bottom', './m:2', '--backing-file', name, 'top');
      expect(code, name).to.equal(1);
      expect(stderr, name).to.include('would not lead to');
    }
    same('top', './m:2');
    expect(shop.must('qemu-img', 'map', 'top')).not.to.match(/top$/m);
  });
});

describe('command line: names of new images that cannot be looked at', () => {
  let shop: Workshop;
  before(async () => {
    shop = await Workshop.open();
    shop.must('ln', '-s', 'loop', 'loop');
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'disk', '1M');
  });
  after(() => shop.remove());

  for (const [name, words] of [
    ['loop', 'Too many levels of symbolic links'],
    ['n'.repeat(300), 'File name too long'],
  ]) {
    for (const line of ['create -q -f qcow2 NAME 1M', 'convert -O qcow2 disk NAME', 'backup --target=NAME disk']) {
      it(`${line}: ${words}`, () => {
        const { code, stderr } = shop.ours(...line.replace('NAME', name).split(' '));
        expect(code).to.equal(1);
        expect(stderr).to.match(new RegExp(`^diskwright: [^\\n]*: ${words}\\n$`));
        expect(stderr).not.to.match(/ELOOP|ENAMETOOLONG|stat/);
      });
    }
  }
});
