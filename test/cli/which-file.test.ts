// An error of the system names the file that it was about, whatever the command calls the image; an image lock that this command itself holds is not said to be
// another process's.

import { linkSync, readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { run, Workshop } from '../support/cli.js';
import { leaveOut } from '../support/needs.js';
import { requirePeer } from '../support/peers.js';

const FULL = 'No space left on device';

const LEFT = "'small/raw' is incomplete: delete it or start again.";

describe('the file that a command names', () => {
  let shop: Workshop;
  let mounted = false;
  before(async function () {
    requirePeer(this, 'qemu-img');
    shop = await Workshop.open();
    shop.must('mkdir', 'small');
    mounted = run('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', 'small'], shop.folder).code === 0;
    if (!mounted) leaveOut(this, 'mount name spaces');
    writeFileSync(shop.path('source'), Buffer.alloc(3 << 20, 1));
    const create = ['create', '-q', '-f', 'qcow2', '-o'];
    shop.must('qemu-img', ...create, 'cluster_size=64k', 'small/disk', '4M');
    shop.must('qemu-img', ...create, 'cluster_size=64k,data_file=small/data', 'apart', '256k');
    // All of the rest is taken.
    const rest = Buffer.alloc(1 << 20, 1);
    shop.run('dd', 'if=source', 'of=small/filler', 'bs=4k');
    expect(readFileSync(shop.path('small/filler')).length).to.be.lessThan(rest.length);
  });
  after(() => {
    if (mounted) shop.must('umount', 'small');
    shop.remove();
  });

  const cases: [words: string, line: string][] = [
    ['resize --preallocation=full small/disk 8M', `small/disk: ${FULL}`],
    ['resize --preallocation=full apart 8M', `small/data: ${FULL}`],
    ['amend -o refcount_bits=64 small/disk', `small/disk: ${FULL}`],
    ['snapshot -c new small/disk', `Could not create snapshot 'new': -28 (small/disk: ${FULL})`],
    ['convert -f raw -O raw source small/raw', `error while writing at byte 0: small/raw: ${FULL}\n${LEFT}`],
    ['dd -f raw -O raw if=source of=small/raw bs=1M', `error while copying: small/raw: ${FULL}\n${LEFT}`],
  ];
  for (const [words, line] of cases) {
    it(words, () => {
      const { code, stderr } = shop.ours(...words.split(' '));
      expect({ code, stderr }).to.deep.equal({ code: 1, stderr: `diskwright: ${line}\n` });
    });
  }

  it('is open already, where it names one image twice', () => {
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'twice', '1M');
    for (const name of ['a', 'b']) shop.must('qemu-img', 'bitmap', '--add', 'twice', name);
    linkSync(shop.path('twice'), shop.path('link'));
    const before = readFileSync(shop.path('twice'));
    const itself: [words: string, stderr: RegExp][] = [
      ['bitmap --merge a -b twice -F qcow2 twice b', /lock\nThis program has 'twice' open already\n$/],
      ['bitmap --merge a -b link -F qcow2 twice b', /lock\nThis program has 'link' open already, as 'twice'\n$/],
      ['salvage -O qcow2 twice twice', /lock\nThis program has 'twice' open already\n$/],
      ['salvage -O qcow2 twice link', /lock\nThis program has 'link' open already, as 'twice'\n$/],
    ];
    for (const [words, expected] of itself) {
      const { code, stderr } = shop.ours(...words.split(' '));
      expect(code, words).to.equal(1);
      expect(stderr, words).to.match(expected);
    }
    expect(readFileSync(shop.path('twice')).equals(before)).to.equal(true);
  });
});
