// The same command line to qemu-img and to us, right ones and wrong ones: the same words, the same exit code.

import { closeSync, openSync, writeSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';

/** What is typed, word by word. `a.qcow2` <- `b.qcow2` <- `c.qcow2` is a chain, `gone.qcow2` is not there. */
const COMMANDS: readonly string[] = [
  '',
  'frobnicate',
  '--frobnicate',
  'info',
  'info -z a.qcow2',
  'info --frobnicate a.qcow2',
  'info --backing-chain=3 a.qcow2',
  'info -f',
  'info -f qcow2 a.raw',
  'info -f raw a.qcow2',
  'info -f xyz a.raw',
  'info --output=xml a.raw',
  'info --output json a.raw',
  'info -U -fqcow2 a.qcow2',
  'info --image-opts driver=qcow2,file.filename=a.qcow2',
  'info --image-opts -f qcow2 driver=qcow2,file.filename=a.qcow2',
  'info --image-opts foo=bar',
  'info json:{"driver":"qcow2","file":{"driver":"file","filename":"a.qcow2"}}',
  'info --output=json json:{"driver":"raw","offset":65536,"size":131072,"file":{"driver":"file","filename":"a.raw"}}',
  'info gone.qcow2',
  'info sub',
  'info lost.qcow2',
  'info --backing-chain lost.qcow2',
  'info --backing-chain sub/relative.qcow2',
  'info --output=json --backing-chain sub/relative.qcow2',
  'info short.qcow2',
  'info future.qcow2',
  'map json:{"driver":"qcow2","file":{"driver":"file","filename":"a.qcow2"},"backing":""}',
  'map lost.qcow2',
  'map -s 1M -l 1M c.qcow2 --output=json',
  'map --start-offset=1000 --max-length=100000 a.qcow2',
  'map --start-offset=1000 --max-length=100000 --output=json a.qcow2',
  'map --start-offset=100M --output=json a.qcow2',
  'map --start-offset=100M a.qcow2',
  'map --max-length=0 --output=json a.qcow2',
  'map --start-offset=x a.qcow2',
  'map --max-length=x a.qcow2',
  'map --start-offset=-1 a.qcow2',
  'check a.raw',
  'check --output=json a.raw',
  'check lost.qcow2',
  'check gone.qcow2',
  'check -T foo a.qcow2',
  'check -t foo a.qcow2',
  'check json:{"driver":"qcow2","file":{"driver":"file","filename":"a.qcow2"}} --output=json',
  'compare a.qcow2',
  'compare a.qcow2 b.qcow2 c.qcow2',
  'compare a.qcow2 b.qcow2',
  'compare a.qcow2 c.qcow2',
  'compare a.qcow2 d.qcow2',
  'compare -s a.qcow2 b.qcow2',
  'compare -s a.qcow2 c.qcow2',
  'compare -s a.qcow2 d.qcow2',
  'compare -q a.qcow2 d.qcow2',
  'compare a.qcow2 gone.qcow2',
  'compare a.qcow2 a.raw',
  'compare -f raw -F qcow2 a.qcow2 a.qcow2',
  'compare -T foo a.qcow2 b.qcow2',
  'create',
  'create x',
  'create -f qcow2 x',
  'create -f qcow2 x 1M 2M',
  'create -f qcow2 x abc',
  'create -f qcow2 x 1.5',
  'create -f qcow2 x 1.5M',
  'create -f raw x 1.5M',
  'create -f xyz x 1M',
  'create -f qcow2 -b gone.qcow2 -F qcow2 x 1M',
  'create -f qcow2 -u -b gone.qcow2 -F qcow2 x',
  'create -f qcow2 -u -b gone.qcow2 -F qcow2 x 1M',
  'create -f qcow2 -b c.qcow2 -F qcow2 x',
  'create -f qcow2 -o size=3M x',
  'create -f qcow2 -o size=3M x 4M',
  'create -f qcow2 -o foo=3M x 4M',
  'create -f qcow2 -o cluster_size=3 x 4M',
  'create -f qcow2 -o cluster_size=4M x 4M',
  'create -f qcow2 -o compat=2 x 4M',
  'create -f qcow2 -o refcount_bits=3 x 4M',
  'create -f qcow2 -o compat=v3,preallocation=metadata x 4M',
  'create -f qcow2 -o preallocation=foo x 4M',
  'create -f qcow2 -o backing_file=a.qcow2,backing_fmt=qcow2 x',
  'create -f qcow2 -o cluster_size=2k -o refcount_bits=8 x 1M',
  'create -f raw -b a.raw -F raw x',
  'create -f raw -o x=1 x 1M',
  'create -q -f raw x 1M',
  'create -f qcow2 -F qcow2 x 1M',
  'create -f qcow2 -b x -F raw x',
  'create -f qcow2 nowhere/x 1M',
  'create x 1M -f qcow2',
  'convert',
  'convert a.qcow2',
  'convert a.qcow2 -O qcow2 x',
  'convert -O xyz a.qcow2 x',
  'convert -O raw gone.qcow2 x',
  'convert -O raw -o foo=1 a.qcow2 x',
  'convert -O raw -r abc a.qcow2 x',
  'convert -c -O raw a.qcow2 x',
  'convert -n -O raw a.qcow2 nothing',
  'convert -n -O raw a.qcow2 empty',
  'convert -O qcow2 -B a.qcow2 c.qcow2 x',
  'convert -O qcow2 -F qcow2 b.qcow2 x',
  'convert -S 100 -O qcow2 a.qcow2 x',
  'convert -S abc -O qcow2 a.qcow2 x',
  'convert -m 0 -O qcow2 a.qcow2 x',
  'convert -m x -O qcow2 a.qcow2 x',
  'convert -t foo -O qcow2 a.qcow2 x',
  'convert -T foo -O qcow2 a.qcow2 x',
  'convert --target-is-zero -O qcow2 a.qcow2 x',
  'convert --target-image-opts a.qcow2 driver=qcow2,file.filename=x',
  'convert -n -o cluster_size=4k -O qcow2 a.qcow2 x',
  'convert -O qcow2 a.qcow2 a.qcow2',
  'commit',
  'commit a.qcow2',
  'commit a.raw',
  'commit -r x b.qcow2',
  'commit -t x b.qcow2',
  'commit -b gone.qcow2 b.qcow2',
  'commit lost.qcow2',
];

describe('command line beside qemu-img: words and exit codes', function () {
  this.timeout(60_000);
  let shop: Workshop;

  before(async () => {
    shop = await Workshop.open();
    const must = (...args: string[]) => shop.must('qemu-img', 'create', '-q', ...args);
    must('-f', 'qcow2', 'a.qcow2', '10M');
    shop.qemuIo('a.qcow2', 'write -P 1 0 192k', 'write -z 1M 64k', 'write -P 3 3M 1M');
    must('-f', 'qcow2', '-b', 'a.qcow2', '-F', 'qcow2', 'b.qcow2');
    must('-f', 'qcow2', '-b', 'b.qcow2', '-F', 'qcow2', '-o', 'compat=0.10,cluster_size=4k', 'c.qcow2', '12M');
    shop.must('cp', 'a.qcow2', 'd.qcow2');
    shop.qemuIo('d.qcow2', 'write -P 9 3500k 1k');
    must('-f', 'raw', 'a.raw', '1234567');
    shop.must('qemu-io', '-f', 'raw', '-c', 'write -P 7 64k 10k', 'a.raw');
    must('-f', 'raw', 'empty', '0');
    must('-f', 'qcow2', '-u', '-b', 'gone.qcow2', '-F', 'qcow2', 'lost.qcow2', '1M');
    shop.must('mkdir', 'sub');
    must('-f', 'qcow2', '-u', '-b', '../a.qcow2', '-F', 'qcow2', 'sub/relative.qcow2', '1M');
    shop.must('sh', '-c', 'head -c 100 a.qcow2 > short.qcow2');
    must('-f', 'qcow2', 'future.qcow2', '1M');
    const fd = openSync(shop.path('future.qcow2'), 'r+');
    writeSync(fd, Buffer.from([0, 0, 0, 0, 0, 1, 0, 0]), 0, 8, 72);
    closeSync(fd);
  });
  after(() => shop.remove());

  for (const command of COMMANDS) {
    it(`qemu-img ${command}`, () => {
      const words = command.split(' ').filter((word) => word !== '');
      const theirs = shop.qemuImg(...words);
      expect(shop.shim('qemu-img', ...words)).to.deep.equal(theirs);
    });
  }
});
