// Ctrl-C while an image is opened whose header asks for long key derivations, and while one is made.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { diedBy } from '../support/ended.js';

const SECRET = ['--object', 'secret,id=s,data=the password'];
const SLOTS_OFFSET = 208;
const SLOT_BYTES = 48;
const ACTIVE = 0x00ac_71f3;
/** Against the iterations of 10 milliseconds: one derivation takes about four seconds, and all eight slots half a minute. */
const LONGER = 400;
/** Ticks of a hundredth of a second: nothing else in a small command takes a thread so long. */
const BUSY_TICKS = 40;
/** Less than one derivation. */
const SOON_MS = 3000;

/** Ticks of the busiest thread but the first. */
function busiestTicks(pid: number): number {
  const ticks = readdirSync(`/proc/${pid}/task`)
    .filter((thread) => thread !== `${pid}`)
    .map((thread) => {
      const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
      // The name in parentheses may have spaces; the time in user mode is field 14.
      return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[11]);
    });
  return Math.max(0, ...ticks);
}

describe('key derivations that a signal ends', function () {
  this.timeout(60_000);
  let shop: Workshop;
  before(async () => {
    shop = await Workshop.open();
    const made = shop.ours('create', '-q', '-f', 'luks', ...SECRET, '-o', 'key-secret=s,iter-time=10', 'image', '1M');
    expect(made).to.deep.equal({ code: 0, stdout: '', stderr: '' });
    const image = readFileSync(shop.path('image'));
    const iterations = image.readUInt32BE(SLOTS_OFFSET + 4) * LONGER;
    for (let slot = 0; slot < 8; slot++) {
      image.writeUInt32BE(ACTIVE, SLOTS_OFFSET + slot * SLOT_BYTES);
      image.writeUInt32BE(iterations, SLOTS_OFFSET + slot * SLOT_BYTES + 4);
    }
    writeFileSync(shop.path('image'), image);
  });
  after(() => shop?.remove());

  const OPENING = ['--image-opts', '-O', 'raw', 'driver=luks,key-secret=s,file.filename=image', 'made'];
  for (const [what, signal, words] of [
    ['an open', 'SIGINT', ['convert', ...SECRET, ...OPENING]],
    ['a creation', 'SIGTERM', ['create', ...SECRET, '-f', 'luks', '-o', 'key-secret=s,iter-time=20000', 'made', '1M']],
  ] as const) {
    it(`${signal} ends ${what} soon`, async () => {
      const child = spawn(process.execPath, [shop.bundle, ...words], { cwd: shop.folder, stdio: 'ignore' });
      const ended = once(child, 'close');
      while (child.exitCode === null && busiestTicks(child.pid!) < BUSY_TICKS) await new Promise(setImmediate);
      const begun = performance.now();
      child.kill(signal);
      expect(await ended).to.deep.equal(diedBy(signal));
      expect(performance.now() - begun, 'milliseconds').to.be.below(SOON_MS);
      // A new image's file is there before its key; a copy's is not.
      expect(existsSync(shop.path('made'))).to.equal(words[0] === 'create');
    });
  }
});
