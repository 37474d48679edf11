// Locks of image files between processes: whoever holds an image and whoever comes, QEMU's tools or ours, the same is refused, in the same words.

import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { expect } from 'chai';
import { run, Workshop } from '../../support/cli.js';
import { requirePeer } from '../../support/peers.js';
import { DAY, SOAK, timeLimit } from '../../support/sample.js';
import { StandingProgram } from '../img/standing-program.js';
import { lockDifferences, makeImages, type Side } from './runner.js';
import { COMERS, HOLDERS } from './table.js';

/** A short run takes one of so many parts of the holders, by the day. */
const PARTS = 5;
const LOCKED = '--image-opts driver=qcow2,file.driver=file,file.filename=a.qcow2,file.locking=on';

describe('locks between processes', function () {
  this.timeout(timeLimit(240_000));
  let shop: Workshop;
  let ours: Side;
  const standing = new Map(['qemu-img', 'qemu-io'].map((name) => [name, new StandingProgram(name)]));
  const theirs: Side = {
    name: 'theirs',
    run: async (program, words, folder) => run(program, words, folder),
    start: (program, words, folder) => spawn(program, words, { cwd: folder }),
  };

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io', 'qemu-nbd', 'qemu-storage-daemon']) requirePeer(this, peer);
    shop = await Workshop.open();
    ours = {
      name: 'ours',
      run: (program, words, folder) => standing.get(program)!.run(words, folder),
      start: (program, words, folder) => spawn(process.execPath, [shop.linked(program), ...words], { cwd: folder }),
    };
  });
  after(async () => {
    for (const program of standing.values()) await program.end();
    shop?.remove();
  });

  it('are seen to be missing', async () => {
    // Planted: an image that is held without its locks, and a program that comes without asking for them.
    const unlocked = (words: readonly string[]) => words.map((word) => word.replace('locking=on', 'locking=off'));
    const holding: Side = { ...ours, start: (program, words, folder) => ours.start(program, unlocked(words), folder) };
    const coming: Side = { ...ours, run: (program, words, folder) => ours.run(program, unlocked(words), folder) };
    const comer = `io ${LOCKED} :length`;
    for (const [at, faulty] of [holding, coming].entries()) {
      const images = shop.path(`planted-${at}`);
      mkdirSync(images);
      makeImages(images);
      const all = await lockDifferences(`io ${LOCKED}`, [comer], images, theirs, faulty);
      const taken = all.map((said) => said[comer]?.startsWith('0 '));
      expect(taken).to.deep.equal(at === 0 ? [false, false, true, true] : [false, true, false, true]);
    }
  });

  HOLDERS.forEach((holder, at) => {
    if (!SOAK && at % PARTS !== DAY % PARTS) return;
    it(holder, async () => {
      const images = shop.path(String(at));
      mkdirSync(images);
      makeImages(images);
      const all = await lockDifferences(holder, COMERS, images, theirs, ours);
      expect(all, 'theirs beside theirs, and the three others').to.deep.equal(all.map(() => ({})));
    });
  });
});
