// dd, with qemu-img: the same operands to both say the same and make images with the same bytes.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Random } from '../../src/host/sim/random.js';
import { outcomeOf, pooled } from '../support/beside.js';
import { asOurs, type Outcome, Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import { repeats, seedOf, timeLimit } from '../support/sample.js';

const SEED = seedOf(5);
const COMMANDS = repeats(16, 1000);

/** Those that have found something, or that chance seldom makes. */
const FIXED: readonly string[] = [
  '',
  'if=disk',
  'if=disk of=OUT bs=0',
  'if=disk of=OUT bs=9E',
  'if=disk of=OUT bs=2147483647',
  'if=disk of=OUT count=x',
  'if=disk of=OUT seek=1',
  'if=disk of=OUT bs=1k skip=1024',
  'if=disk of=OUT bs=64k count=3 skip=2',
  'if=odd of=OUT bs=7000 count=4 skip=1',
  '-O foo if=disk of=OUT',
];

function drawn(random: Random): string {
  const words: string[] = [];
  if (random.chance(0.3)) words.push('-f', random.pick(['qcow2', 'raw', 'foo']));
  if (random.chance(0.2)) words.push('-U');
  if (random.chance(0.8))
    words.push(`bs=${random.pick(['1', '3', '512', '1000', '4k', '7000', '64k', '1M', '1G', '-1'])}`);
  if (random.chance(0.5)) words.push(`count=${random.pick(['0', '1', '5', '100', '1k', '9999999999999'])}`);
  if (random.chance(0.5)) words.push(`skip=${random.pick(['0', '1', '3', '16', '2000', '9999999999999'])}`);
  words.push(`if=${random.pick(['disk', 'disk', 'odd', 'gone'])}`, 'of=OUT');
  return words.join(' ');
}

describe('dd, beside qemu-img', function () {
  this.timeout(timeLimit(120_000));
  let shop: Workshop;

  before(async function () {
    requirePeer(this, 'qemu-img');
    shop = await Workshop.open();
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'disk', '1M');
    shop.qemuIo('disk', 'write -P 1 0 100k', 'write -P 2 900k 124k');
    writeFileSync(shop.path('odd'), Buffer.alloc(100_000, 'x'));
  });
  after(() => shop?.remove());

  it(`${FIXED.length + COMMANDS} command lines do the same (seed ${SEED})`, async () => {
    const random = new Random(SEED);
    const commands = [...FIXED, ...Array.from({ length: COMMANDS }, () => drawn(random))];
    await pooled(commands, async (command, index) => {
      const words = ['dd', ...command.split(' ').filter((word) => word !== '')];
      const [ours, theirs] = await Promise.all(
        [true, false].map(async (own) => {
          const out = `${own ? 'a' : 'b'}${index}`;
          const typed = words.map((word) => word.replace('OUT', out));
          const program = own ? process.execPath : 'qemu-img';
          const outcome: Outcome = await outcomeOf(program, own ? [shop.bundle, ...typed] : typed, shop.folder);
          const bytes = existsSync(shop.path(out)) ? readFileSync(shop.path(out)).toString('base64') : null;
          return { bytes, ...(own ? outcome : asOurs(outcome, 'dd')) };
        }),
      );
      expect(ours.bytes === theirs.bytes, `${command}: other bytes than qemu-img's`).to.equal(true);
      expect({ ...ours, bytes: '' }, command).to.deep.equal({ ...theirs, bytes: '' });
    });
  });

  it('-O qcow2 makes an image with that content, in place of a larger file', () => {
    writeFileSync(shop.path('made'), Buffer.alloc(3 << 20, 'y'));
    expect(shop.ours('dd', '-O', 'qcow2', 'if=odd', 'of=made')).to.deep.include({ code: 0, stderr: '' });
    expect(shop.must('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', 'odd', 'made')).to.contain('identical');
    expect(shop.must('qemu-img', 'check', 'made')).to.contain('No errors');
  });
});
