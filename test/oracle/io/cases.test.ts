// Sessions of qemu-io that are written down, each with what it is about: files, options, break points, ends.

import { writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../../support/cli.js';
import { requirePeer } from '../../support/peers.js';
import { IoPair } from './pair.js';

/** Arguments; those that begin with a colon are commands of `-c`. */
const CASES: readonly string[][] = [
  // no image
  [':length'],
  [':read 0 512', ':open', ':close', ':help read write', ':sleep 1', ':aio_flush'],
  [':open a.qcow2', ':open a.qcow2', ':length', ':close', ':length', ':close'],
  [
    ':open -r a.qcow2',
    ':write 0 512',
    ':write',
    ':write -x 0 512',
    ':discard 0 512',
    ':truncate 1M',
    ':flush',
    ':aio_write -z 0 512',
  ],
  [':open gone', ':length'],
  [
    ':open -x',
    ':open -t foo a.qcow2',
    ':open -d foo a.qcow2',
    ':open -i foo a.qcow2',
    ':open -t foo -x',
    ':open a b',
    ':open -r',
  ],
  [':open -n a.qcow2', ':read -P 0 0 4k', ':length'],
  [':open -s a.qcow2', ':write -P 7 0 64k', ':read -P 7 0 64k', ':info', ':close', ':open a.qcow2', ':read -P 0 0 64k'],
  [':open -C b.qcow2', ':read -P 9 0 64k', ':map'],
  [':open -Cr b.qcow2'],
  [':open -U a.qcow2', ':open -Ur a.qcow2', ':length'],
  [':open -k a.qcow2', ':length'],
  [':open -o driver=raw a.qcow2', ':read -v 0 16'],
  [':open -o driver=qcow2,file.filename=a.qcow2', ':length'],
  [':open -o driver=raw -o driver=qcow2 a.qcow2', ':info'],
  [':open -o foo=bar a.qcow2'],
  [':open -o lazy-refcounts=on,overlap-check=none a.qcow2', ':write 0 512'],
  [':open -o driver=null-co,size=1M,read-zeroes=on', ':length', ':read -P 0 0 512', ':map'],
  [':open json:{"driver":"qcow2","file":{"driver":"file","filename":"a.qcow2"}}', ':length'],
  // reopen
  ['-f', 'qcow2', 'a.qcow2', ':reopen -r', ':write 0 512', ':reopen -w', ':write 0 512', ':reopen', ':length'],
  ['-f', 'qcow2', 'a.qcow2', ':reopen -r -w', ':reopen -c foo', ':reopen foo', ':reopen -x', ':reopen -o foo=bar'],
  ['-f', 'qcow2', 'a.qcow2', ':reopen -c none -o cache.direct=on', ':reopen -r -o read-only=off'],
  [
    '-f',
    'qcow2',
    'a.qcow2',
    ':reopen -c none',
    ':write 5 512',
    ':reopen -c writethrough',
    ':write 5 512',
    ':reopen -c unsafe',
    ':read -P 205 5 512',
  ],
  [
    '-f',
    'qcow2',
    'a.qcow2',
    ':reopen -o lazy-refcounts=on',
    ':write 0 512',
    ':reopen -o lazy-refcounts=off',
    ':write 0 512',
  ],
  ['-f', 'qcow2', 'b.qcow2', ':reopen -c none', ':read -P 9 0 64k', ':reopen -r', ':read -P 9 0 64k'],
  ['-r', '-f', 'qcow2', 'a.qcow2', ':write 0 512', ':reopen -w', ':write 0 512'],
  // options
  ['gone', ':length'],
  ['-r', 'gone', ':length'],
  ['-f', 'foo', 'a.qcow2', ':length'],
  ['-f', 'qcow2', 'r.raw', ':length'],
  ['-t', 'foo', 'a.qcow2'],
  ['-d', 'foo', 'a.qcow2'],
  ['-i', 'foo', 'a.qcow2'],
  ['-k', 'a.qcow2', ':length'],
  ['-k', '-n', '-f', 'qcow2', 'a.qcow2', ':length'],
  ['-C', '-r', 'a.qcow2', ':length'],
  ['-U', 'a.qcow2', ':length'],
  ['-U', '-r', 'a.qcow2', ':length'],
  ['-m', '-t', 'none', '-f', 'raw', 'r.raw', ':write -P 3 512 1k', ':read -P 3 512 1k', ':read -v 1500 50'],
  ['--image-opts', 'driver=qcow2,file.filename=a.qcow2', ':length'],
  ['--image-opts', '-f', 'qcow2', 'a.qcow2', ':length'],
  ['--image-opts', ':open driver=qcow2,file.filename=a.qcow2', ':length'],
  ['-T', 'nonsense', '-f', 'qcow2', 'a.qcow2', ':length'],
  ['r.raw', ':length'],
  ['.', ':length'],
  ['', ':length'],
  // what images are
  ['-f', 'qcow2', 'e.qcow2', ':info', ':map'],
  ['-f', 'raw', 'r.raw', ':info', ':map', ':alloc 0 1M'],
  ['-f', 'file', 'r.raw', ':info'],
  [
    '-f',
    'raw',
    'r.raw',
    ':truncate 5G',
    ':length',
    ':write -P 1 4G 16',
    ':read -v 4G 17',
    ':truncate -m full 100',
    ':truncate 1000',
    ':length',
  ],
  [
    '-f',
    'raw',
    'r.raw',
    ':write -P 32 0 1',
    ':write -P 126 1 1',
    ':write -P 65 2 1',
    ':write -P 200 3 1',
    ':read -v 0 8',
    ':read -vq 0 8',
    ':aio_read -vq 0 4',
    ':aio_flush',
  ],
  [
    '-f',
    'raw',
    'r.raw',
    ':write -s pattern 0 100',
    ':read -v 0 100',
    ':write -s gone 0 5',
    ':write -s empty 0 5',
    ':write -s . 0 5',
  ],
  // the machine's state
  [
    '-f',
    'qcow2',
    'a.qcow2',
    ':write -b -P 5 1k 64k',
    ':read -b -P 5 1k 64k',
    ':read -bv 512 1k',
    ':read -b 5 512',
    ':write -bz 0 512',
    ':length',
  ],
  ['-f', 'raw', 'r.raw', ':write -b 0 512', ':read -b 0 512'],
  // break points
  ['-f', 'qcow2', 'a.qcow2', ':break write_aio A', ':remove_break A', ':resume A', ':break foo A', ':break write_aio'],
  [
    'blkdebug::a.qcow2',
    ':break foo A',
    ':remove_break A',
    ':resume A',
    ':break write_aio A',
    ':remove_break A',
    ':write 0 512',
  ],
  [
    'blkdebug::a.qcow2',
    ':break write_aio A',
    ':aio_write 0 512',
    ':wait_break A',
    ':resume A',
    ':aio_flush',
    ':resume A',
  ],
  [
    'blkdebug::a.qcow2',
    ':break write_aio A',
    ':aio_write 0 512',
    ':wait_break A',
    ':remove_break A',
    ':remove_break A',
    ':aio_flush',
  ],
  // ends
  [':length', ':quit', ':length'],
  ['-f', 'qcow2', 'a.qcow2', ':quit 5'],
  ['-f', 'qcow2', 'a.qcow2', ':q', ':foo'],
  ['-f', 'qcow2', 'a.qcow2', ':sigraise 0', ':sigraise 999', ':sigraise x', ':sigraise 9'],
  ['-f', 'qcow2', 'a.qcow2', ':sigraise 15'],
  ['-f', 'qcow2', 'a.qcow2', ':abort'],
  ['-f', 'qcow2', 'a.qcow2', ':aio_write 0 512', ':foo'],
];

describe('sessions of qemu-io', () => {
  let shop: Workshop;
  let pair: IoPair;

  before(async function () {
    requirePeer(this, 'qemu-io');
    shop = await Workshop.open();
    pair = new IoPair(shop);
    pair.make('qemu-img', 'create', '-q', '-f', 'qcow2', 'a.qcow2', '4M');
    pair.make('qemu-img', 'create', '-q', '-f', 'raw', 'r.raw', '1M');
    pair.make('qemu-img', 'create', '-q', '-f', 'qcow2', 'base.qcow2', '2M');
    pair.make('qemu-io', '-f', 'qcow2', '-c', 'write -P 9 0 128k', 'base.qcow2');
    pair.make('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', 'b.qcow2', '4M');
    pair.make('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'extended_l2=on,compression_type=zstd', 'e.qcow2', '1M');
    writeFileSync(pair.path('theirs', 'pattern'), 'abc\n');
    writeFileSync(pair.path('theirs', 'empty'), '');
  });
  beforeEach(() => pair.copy());
  after(() => shop.remove());

  for (const words of CASES) {
    it(words.join(' '), function () {
      this.timeout(60_000);
      const args = words.flatMap((word) => (word.startsWith(':') ? ['-c', word.slice(1)] : [word]));
      const { ours, theirs } = pair.run(args);
      expect(ours).to.deep.equal(theirs);
    });
  }
});
