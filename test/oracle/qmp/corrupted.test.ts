// Images whose metadata is damaged, against qemu-storage-daemon: the event BLOCK_IMAGE_CORRUPTED, fatal and not, the error of the request, and what the image is good for afterwards.

import { readFileSync, writeFileSync } from 'node:fs';
import { requirePeer } from '../../support/peers.js';
import { command, comparing, type Setup, type Step, until, untilStatus } from './runner.js';

const L1_OFFSET = 40;
const POINTER = 0xfffffffffffe00n;
const COPIED = 1n << 63n;

/** Changes the first L2 entry of an image: to what `make` says, of the entry and the offset of the L1 table. */
function damage(path: string, make: (entry: bigint, l1: bigint) => bigint): void {
  const image = readFileSync(path);
  const l1 = image.readBigUInt64BE(L1_OFFSET);
  const l2 = Number(image.readBigUInt64BE(Number(l1)) & POINTER);
  image.writeBigUInt64BE(make(image.readBigUInt64BE(l2), l1), l2);
  writeFileSync(path, image);
}

const files: Setup['files'] = (shop, folder) => {
  for (const name of ['over', 'askew']) {
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', `${folder}/${name}`, '64k');
    shop.must('qemu-io', '-c', 'write -q -P 1 0 64k', `${folder}/${name}`);
  }
  damage(`${folder}/over`, (_, l1) => COPIED | l1);
  damage(`${folder}/askew`, (entry) => entry + 512n);
  writeFileSync(`${folder}/raw`, Buffer.alloc(64 << 10, 7));
};

const add = (name: string, driver: string, readOnly = false): Step =>
  command('blockdev-add', {
    driver,
    'node-name': name,
    'read-only': readOnly,
    file: { driver: 'file', filename: name },
  });
const copy = (id: string, device: string, target: string): Step[] => [
  command('blockdev-backup', {
    'job-id': id,
    device,
    target,
    sync: 'full',
    'auto-dismiss': false,
  }),
  until('BLOCK_IMAGE_CORRUPTED'),
  untilStatus(id, 'concluded'),
  command('query-jobs'),
  command('job-dismiss', { id }),
];
const remove = (...names: string[]): Step[] => names.map((name) => command('blockdev-del', { 'node-name': name }));

/** What a job says of its failure: there, "Input/output error" alone; here, what is damaged. */
const filter = (text: string): string =>
  text.replace(/"error":"(Input\/output error|qcow2: Image is corrupt: [^"]*)"/, '"error":"DAMAGED"');

describe('qmp against qemu-storage-daemon: damaged images', () => {
  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-img', 'qemu-io']) requirePeer(this, peer);
  });

  it(
    'a write over a table is refused, and the image is not used any more',
    comparing([add('over', 'qcow2'), add('raw', 'raw'), ...copy('j', 'raw', 'over'), ...remove('over', 'raw')], {
      files,
      filter,
    }),
  );

  it(
    'an entry that points askew is an error of the read, and the image stays as it is, where it is read-only',
    comparing(
      [add('askew', 'qcow2', true), add('raw', 'raw'), ...copy('j', 'askew', 'raw'), ...remove('askew', 'raw')],
      {
        files,
        filter,
      },
    ),
  );
});
