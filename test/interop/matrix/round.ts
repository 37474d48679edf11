// One image of the matrix: made by one program, and used by both in turn. After each turn the other program must read what a plain buffer says.
//
//   maker: make, write ---- other: read, check, map
//   maker: bitmap, write -- other: a copy of it, write -- maker: merge -- other: clear, merge -- both: the same bits
//   maker: snapshot 1 ----- other: write, snapshot 2 -- maker: write -- both: list, read all three
//   other: apply 1 -------- maker: read, check, delete 2 -- other: read, check

import { rm } from 'node:fs/promises';
import { expect } from 'chai';
import { sha256 } from '../../../src/host/digest.js';
import { Random } from '../../../src/host/sim/index.js';
import { roundUp } from '../../../src/util/numbers.js';
import { differenceAt } from '../support.js';
import { beginsAsNoise, describeShape, drawShape, type ImageShape } from './shape.js';
import type { MatrixImage, Side } from './side.js';
import { applySteps, drawSteps, touchedBy, withoutRewrites } from './steps.js';

export interface Sides {
  ours: Side;
  theirs: Side;
}

/** Runs the round of a seed with files in `folder`, and resolves with what the image was like. Rejects where the programs differ. */
export async function runRound(sides: Sides, folder: string, seed: number): Promise<ImageShape> {
  const random = new Random(seed);
  const shape = drawShape(random);
  const path = `${folder}/${seed}.qcow2`;
  const image: MatrixImage = {
    shape,
    path,
    dataPath: shape.dataFile === 'none' ? null : `${path}.data`,
    backing: shape.backing === 'none' ? null : `${path}.backing`,
  };
  const round = new Round(sides, image, random);
  try {
    await round.run();
  } catch (error) {
    throw new Error(`seed ${seed} (${describeShape(shape)}): ${(error as Error).message}`, { cause: error });
  }
  for (const file of [path, image.dataPath, image.backing]) if (file !== null) await rm(file);
  return shape;
}

class Round {
  readonly #sides: Sides;
  readonly #maker: Side;
  readonly #other: Side;
  readonly #image: MatrixImage;
  readonly #random: Random;
  #content: Buffer;
  /** Granules that were written since the bitmap was made. */
  readonly #dirty = new Set<number>();
  #granularity = 0;
  /** Clusters that have a place in the image. */
  readonly #used = new Set<number>();

  constructor(sides: Sides, image: MatrixImage, random: Random) {
    const ours = image.shape.maker === 'ours';
    this.#sides = sides;
    this.#maker = ours ? sides.ours : sides.theirs;
    this.#other = ours ? sides.theirs : sides.ours;
    this.#image = image;
    this.#random = random;
    this.#content = Buffer.alloc(image.shape.size);
    if (image.shape.preallocation === 'off') return;
    for (let at = 0; at * image.shape.clusterBytes < image.shape.size; at++) this.#used.add(at);
  }

  async run(): Promise<void> {
    const { shape } = this.#image;
    if (this.#image.backing !== null) await this.#makeBacking(this.#image.backing);
    await this.#maker.make(this.#image);
    if (beginsAsNoise(shape)) {
      await this.#maker.change(this.#image, [{ kind: 'zero', offset: 0, length: shape.size, value: 0 }]);
    }
    await this.#write(this.#maker, 6);
    await this.#compare('written by the maker');
    if (shape.bitmaps) await this.#bitmap();
    if (shape.snapshots) await this.#snapshots();
    else {
      await this.#write(this.#other, 6);
      await this.#compare('written by the other');
    }
    if (shape.bitmaps) await this.#compareBitmap();
  }

  async #makeBacking(path: string): Promise<void> {
    const { size } = this.#image.shape;
    const factor = this.#image.shape.backing === 'shorter' ? 0.6 : 1.3;
    const shape: ImageShape = {
      ...this.#image.shape,
      ...{ version: 3, clusterBytes: 65536, refcountBits: 16, compression: 'none' },
      ...{ encryption: 'none', dataFile: 'none', lazyRefcounts: false, preallocation: 'off', backing: 'none' },
      size: roundUp(size * factor, 512),
    };
    const backing: MatrixImage = { shape, path, dataPath: null, backing: null };
    await this.#sides.ours.make(backing);
    const steps = drawSteps(this.#random, shape, 4);
    await this.#sides.ours.change(backing, steps);
    const content = Buffer.alloc(shape.size);
    applySteps(content, steps);
    content.copy(this.#content, 0, 0, Math.min(size, shape.size));
  }

  async #write(side: Side, count: number): Promise<void> {
    const { shape } = this.#image;
    const drawn = drawSteps(this.#random, shape, count);
    const steps = withoutRewrites(drawn, shape.clusterBytes, this.#used);
    await side.change(this.#image, steps);
    applySteps(this.#content, steps);
    if (this.#granularity > 0) for (const granule of touchedBy(steps, this.#granularity)) this.#dirty.add(granule);
  }

  /** Both read the same, check the same, and map the same. */
  async #compare(when: string): Promise<void> {
    const image = this.#image;
    const { ours, theirs } = this.#sides;
    for (const [name, side] of [
      ['ours', ours],
      ['theirs', theirs],
    ] as const) {
      same(await side.content(image), this.#content, `${when}, read by ${name}`);
      const { faults, leaks } = await side.check(image);
      expect({ faults, leaks }, `${when}, checked by ${name}`).to.deep.equal({ faults: 0, leaks: 0 });
    }
    same(text(await ours.map(image)), text(await theirs.map(image)), `${when}, map`);
  }

  async #bitmap(): Promise<void> {
    this.#granularity = this.#random.pick([512, 4096, 65536, 1 << 20]);
    await this.#maker.workBitmap(this.#image, 'bitmap', ['--add', '-g', `${this.#granularity}`]);
    await this.#write(this.#maker, 3);
    await this.#compareBitmap();
    // A copy that is frozen, made by the other from the maker's; it is merged into it again after that was cleared.
    const copy = ['--add', '-g', `${this.#granularity}`, '--merge', 'bitmap', '--disable'];
    await this.#other.workBitmap(this.#image, 'copy', copy);
    await this.#write(this.#other, 2);
    await this.#compareBitmap();
    await this.#maker.workBitmap(this.#image, 'copy', ['--merge', 'bitmap']);
    await this.#other.workBitmap(this.#image, 'bitmap', ['--clear', '--merge', 'copy']);
    await this.#maker.workBitmap(this.#image, 'copy', ['--remove']);
    await this.#compareBitmap();
  }

  async #compareBitmap(): Promise<void> {
    const { ours, theirs } = this.#sides;
    const bits = Buffer.alloc(roundUp(Math.ceil(this.#image.shape.size / this.#granularity), 64) / 8);
    for (const granule of this.#dirty) bits[granule >> 3] |= 1 << (granule & 7);
    const digest = sha256();
    digest.update(bits);
    const expected = digest.digest('hex');
    expect(await ours.bitmapDigest(this.#image, 'bitmap'), 'the bitmap, read by us').to.equal(expected);
    expect(await theirs.bitmapDigest(this.#image, 'bitmap'), 'the bitmap, read by QEMU').to.equal(expected);
  }

  async #snapshots(): Promise<void> {
    const image = this.#image;
    const first = Buffer.from(this.#content);
    await this.#maker.takeSnapshot(image, 'first');
    await this.#write(this.#other, 4);
    const second = Buffer.from(this.#content);
    await this.#other.takeSnapshot(image, 'second');
    await this.#write(this.#maker, 4);
    await this.#compare('with two snapshots');
    for (const side of [this.#maker, this.#other]) {
      const names = (await side.snapshots(image)).map(({ id, name }) => `${id} ${name}`);
      expect(names, 'the snapshots').to.deep.equal(['1 first', '2 second']);
      same(await side.content(image, 'first'), first, 'the first snapshot');
      same(await side.content(image, 'second'), second, 'the second snapshot');
    }
    // Loading a snapshot says nothing to bitmaps: what they hold afterwards is compared apart.
    if (image.shape.bitmaps) return;
    await this.#other.applySnapshot(image, 'first');
    this.#content = first;
    await this.#compare('with the first snapshot applied');
    await this.#maker.deleteSnapshot(image, 'second');
    await this.#write(this.#other, 2);
    await this.#compare('with the second snapshot deleted');
  }
}

/** Entries of a map, a line for each, with their members in one order. */
function text(entries: readonly object[]): Buffer {
  return Buffer.from(entries.map((entry) => `${JSON.stringify(Object.entries(entry).sort())}\n`).join(''));
}

function same(found: Buffer, expected: Buffer, what: string): void {
  const at = differenceAt(found, expected);
  if (at < 0) return;
  const around = (bytes: Buffer) => bytes.subarray(Math.max(0, at - 100), at + 200).toString('latin1');
  throw new Error(
    `${what} differs at ${at}: ${JSON.stringify(around(found))} in place of ${JSON.stringify(around(expected))}`,
  );
}
