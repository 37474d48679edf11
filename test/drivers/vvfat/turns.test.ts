// A machine makes, changes, renames and removes files at random, and flushes now and then: after each flush, the folder holds what a plain model does.

import { mkdirSync } from 'node:fs';
import { expect } from 'chai';
import { Random } from '../../../src/host/sim/random.js';
import { requirePeer } from '../../support/peers.js';
import { seedsOf, spanOf, timeLimit } from '../../support/sample.js';
import { FolderLab, filesBelow, Machine } from './lab.js';

const KINDS = [{ floppy: true }, { floppy: true, 'fat-type': 12 }, { floppy: true, 'fat-type': 16 }];
const STEPS = 40;

/** A machine, and what is on its disk by a plain model. */
class Turns {
  readonly #lab: FolderLab;
  readonly #random: Random;
  readonly #pc: Machine;
  readonly #files: Record<string, string> = {};
  readonly #folders = [''];
  #made = 0;

  constructor(lab: FolderLab, random: Random, pc: Machine) {
    this.#lab = lab;
    this.#random = random;
    this.#pc = pc;
  }

  /** What the folder is to hold. */
  get model(): Record<string, string> {
    const folders = Object.fromEntries(this.#folders.filter((name) => name !== '').map((name) => [name, '']));
    return { ...this.#files, ...folders };
  }

  step(): void {
    const names = Object.keys(this.#files);
    const name = names[this.#random.below(Math.max(1, names.length))];
    const choice = this.#random.below(10);
    if (choice < 4 || name === undefined) this.#put(this.#newName());
    else if (choice < 6) this.#put(name);
    else if (choice < 8) this.#move(name, this.#newName());
    else if (choice < 9) this.#remove(name);
    else if (this.#folders.length < 5) {
      const folder = `${this.#newName()}/`;
      this.#pc.mtools('mmd', `::/${folder.slice(0, -1)}`);
      this.#folders.push(folder);
    }
  }

  #newName(): string {
    const folder = this.#folders[this.#random.below(this.#folders.length)];
    return `${folder}a file of the machine, ${this.#made++}`;
  }

  #put(name: string): void {
    const content = `${name}, ${this.#random.next()}; `.repeat(this.#random.below(800));
    this.#lab.write('content', content);
    this.#pc.mtools('mcopy', '-o', this.#lab.path('content'), `::/${name}`);
    this.#files[name] = content;
  }

  #move(from: string, to: string): void {
    this.#pc.mtools('mmove', `::/${from}`, `::/${to}`);
    this.#files[to] = this.#files[from];
    delete this.#files[from];
  }

  #remove(name: string): void {
    this.#pc.mtools('mdel', `::/${name}`);
    delete this.#files[name];
  }
}

describe('vvfat: a machine at work', function () {
  const seeds = seedsOf({ fixed: 6, daily: 3, soak: 300 });
  this.timeout(timeLimit(120_000));
  before(function () {
    requirePeer(this, 'mcopy');
    requirePeer(this, 'fsck.fat');
  });

  it(`has its files in the folder after each flush (${spanOf(seeds)})`, async () => {
    for (const seed of seeds) {
      const lab = new FolderLab();
      try {
        const random = new Random(seed);
        mkdirSync(lab.path('disk'));
        for (let index = 0; index < 5; index++)
          lab.write(`disk/there before/${index}`, `${index}`.repeat(9000 * index));
        const before = filesBelow(lab.path('disk'));
        const own = KINDS[seed % KINDS.length];
        const pc = await Machine.start(lab, own);
        const turns = new Turns(lab, random, pc);
        const expectModel = () =>
          expect(filesBelow(lab.path('disk')), `seed ${seed}`).to.deep.equal({ ...before, ...turns.model });
        for (let step = 0; step < STEPS; step++) {
          turns.step();
          if (random.below(4) === 0) await pc.write();
          if (random.below(5) !== 0) continue;
          await pc.flush();
          expectModel();
          await pc.expectSame();
        }
        await pc.write();
        await pc.stop();
        expectModel();
        const later = await Machine.start(lab, own);
        later.check();
        await later.stop();
      } finally {
        await lab.close();
      }
    }
  });
});
