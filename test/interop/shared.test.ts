// Images of every format that QEMU has, too, written by us and by qemu-io in turns. Each change is one byte over a range, and is kept in a plain model; after each turn the other side reads
// the ranges, what lies beside them, and the gaps between. So disks of terabytes cost what is written to them.

import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { describe, it } from 'mocha';
import { Graph } from '../../src/block/graph.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import { Random } from '../../src/host/sim/index.js';
import type { ImageOptions } from '../../src/schema/options.js';
import { checkImage } from '../../src/workspace/check.js';
import { readNode } from '../drivers/support.js';
import type { FormatFixture, SharedFormat } from '../formats/fixture.js';
import { FORMATS } from '../formats/index.js';
import { cliBundle } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import { seedsOf, spanOf, timeLimit } from '../support/sample.js';
import { type Bench, useBench } from './support.js';

const SEEDS = seedsOf({ fixed: 8, daily: 4, soak: 200 });
const SECTOR = 512;
/** What is read of a gap between two ranges. */
const GAP_BYTES = 64 << 10;
const TURNS = 4;

const exec = promisify(execFile);

interface Range {
  from: number;
  to: number;
  byte: number;
}

/** What the disk holds: ranges of one byte each, in order, zeroes between them. */
class Model {
  ranges: Range[] = [];
  readonly size: number;

  constructor(size: number) {
    this.size = size;
  }

  write(from: number, to: number, byte: number): void {
    const kept: Range[] = [];
    for (const range of this.ranges) {
      if (range.from < from) kept.push({ ...range, to: Math.min(range.to, from) });
      if (range.to > to) kept.push({ ...range, from: Math.max(range.from, to) });
    }
    kept.push({ from, to, byte });
    this.ranges = kept.filter((range) => range.from < range.to).sort((a, b) => a.from - b.from);
  }

  /** The ranges, and parts of the gaps beside them, which are zeroes. */
  *expected(): Generator<Range> {
    let end = 0;
    for (const range of [...this.ranges, { from: this.size, to: this.size, byte: 0 }]) {
      if (range.from > end) {
        yield { from: end, to: Math.min(range.from, end + GAP_BYTES), byte: 0 };
        const from = Math.max(end, range.from - GAP_BYTES);
        if (from > end) yield { from, to: range.from, byte: 0 };
      }
      if (range.from < range.to) yield range;
      end = range.to;
    }
  }
}

interface Image {
  format: string;
  path: string;
  model: Model;
}

function drawChange(random: Random, { ranges, size }: Model, before: number): Range {
  const sectors = Math.floor(size / SECTOR);
  const length = Math.min(sectors, random.between(1, random.pick([2, 16, 300, 5000])));
  const near = ranges.length > 0 && random.chance(0.5) ? random.pick(ranges).from / SECTOR : random.below(sectors);
  const first = Math.max(0, Math.min(sectors - length, Math.floor(near) + random.between(-20, 20)));
  const byte = random.chance(0.2) ? 0 : 1 + ((before * 7) % 255);
  return { from: first * SECTOR, to: (first + length) * SECTOR, byte };
}

async function ours<T>(bench: Bench, image: Image, readOnly: boolean, action: (node: BlockNode) => Promise<T>) {
  const graph = new Graph(bench.host);
  try {
    const options = { driver: image.format, file: { driver: 'file', filename: image.path } } as ImageOptions;
    return await action(await openNode(graph, options, { readOnly }));
  } finally {
    await graph.closeAll();
  }
}

function theirs(image: Image, commands: readonly string[], readOnly: boolean): Promise<string> {
  const words = commands.flatMap((command) => ['-c', command]);
  return exec('qemu-io', [...(readOnly ? ['-r'] : []), '-f', image.format, ...words, image.path], {
    maxBuffer: 64 << 20,
  }).then(({ stdout, stderr }) => stdout + stderr);
}

async function changeByUs(bench: Bench, image: Image, changes: readonly Range[], random: Random): Promise<void> {
  await ours(bench, image, false, async (node) => {
    for (const { from, to, byte } of changes) {
      if (byte === 0 && random.chance(0.5)) await node.writeZeroes(from, to - from, { mayUnmap: random.chance(0.5) });
      else await node.write(from, new Uint8Array(to - from).fill(byte));
      if (random.chance(0.2)) await node.flush();
    }
  });
}

async function changeByThem(image: Image, changes: readonly Range[], random: Random): Promise<void> {
  const commands = changes.map(({ from, to, byte }) => {
    const zero = byte === 0 && random.chance(0.5);
    return `write -q ${zero ? '-z' : `-P ${byte}`} ${from} ${to - from}`;
  });
  const said = await theirs(image, commands, false);
  if (/fail|error/i.test(said)) throw new Error(`qemu-io: ${said}`);
}

async function readByUs(bench: Bench, image: Image): Promise<void> {
  await ours(bench, image, true, async (node) => {
    expect(node.length).to.equal(image.model.size);
    for (const { from, to, byte } of image.model.expected()) {
      const content = Buffer.alloc(to - from);
      await readNode(node, from, content);
      const wrong = content.findIndex((found) => found !== byte);
      if (wrong >= 0) throw new Error(`at ${from + wrong} we read ${content[wrong]}, not ${byte}`);
    }
  });
}

async function readByThem(image: Image): Promise<void> {
  const all = [...image.model.expected()];
  for (let done = 0; done < all.length; done += 100) {
    const part = all.slice(done, done + 100);
    const said = await theirs(
      image,
      part.map(({ from, to, byte }) => `read -q -P ${byte} ${from} ${to - from}`),
      true,
    );
    if (said.trim() !== '') throw new Error(`qemu-io: ${said}`);
  }
}

/** A new parallels image of some sizes does not pass QEMU's own check before data is written to it. */
async function passesAnew({ format, path }: Image): Promise<boolean> {
  return exec('qemu-img', ['check', '-q', '-f', format, path]).then(
    () => true,
    () => false,
  );
}

async function checkBoth(bench: Bench, image: Image, byThem: boolean): Promise<void> {
  const graph = new Graph(bench.host);
  const { result } = await checkImage(graph, image.path, { format: image.format }, () => undefined);
  expect([result.checkErrors, result.corruptions, result.leaks], 'our check').to.deep.equal([0, 0, 0]);
  if (byThem) await exec('qemu-img', ['check', '-q', '-f', image.format, image.path]);
}

async function runShared(bench: Bench, cli: string, { name }: FormatFixture, shared: SharedFormat, seed: number) {
  const random = new Random(seed, 1);
  const { size, options } = shared.draw(random);
  const path = join(bench.folder, `${name}-${seed}`);
  const words = ['create', '-q', '-f', name, ...options.flatMap((option) => ['-o', option]), path, `${size}`];
  const isOurs = random.chance(0.5);
  if (isOurs) await exec(process.execPath, [cli, ...words]);
  else await exec('qemu-img', words);
  const { stdout } = await exec('qemu-img', ['info', '-f', name, '--output=json', path]);
  const image: Image = { format: name, path, model: new Model(Number(JSON.parse(stdout)['virtual-size'])) };
  const isSound = shared.checks && (await passesAnew(image));
  const done: string[] = [`${isOurs ? 'our' : "QEMU's"} ${words.join(' ')}`];
  try {
    for (let turn = 0, changes = 0; turn < TURNS; turn++) {
      const list: Range[] = [];
      for (let left = random.between(1, 6); left > 0; left--) {
        const change = drawChange(random, image.model, ++changes);
        image.model.write(change.from, change.to, change.byte);
        list.push(change);
      }
      const byUs = random.chance(0.5);
      const text = list.map(({ from, to, byte }) => `${byte} [${from}, ${to})`);
      done.push(`${byUs ? 'we' : 'QEMU'}: ${text.join(' ')}`);
      if (byUs) await changeByUs(bench, image, list, random);
      else await changeByThem(image, list, random);
      await readByUs(bench, image);
      await readByThem(image);
      const holdsData = image.model.ranges.some(({ byte }) => byte !== 0);
      if (shared.checks) await checkBoth(bench, image, isSound || holdsData);
    }
  } catch (error) {
    throw new Error(`seed ${seed}: ${(error as Error).message}\n${done.join('\n')}`, { cause: error });
  } finally {
    rmSync(path, { force: true });
  }
}

for (const fixture of FORMATS) {
  const { name, shared } = fixture;
  if (shared === undefined) continue;
  describe(`${name}, written in turns with QEMU's tools`, function () {
    this.timeout(timeLimit(300_000));
    const bench = useBench(`shared-${name}`);
    let cli: string;

    before(async function () {
      for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
      cli = await cliBundle();
    });

    it(`reads the same on both sides (${spanOf(SEEDS)})`, async () => {
      const failures: string[] = [];
      for (const seed of SEEDS) {
        await runShared(bench, cli, fixture, shared, seed).catch((error: Error) => failures.push(error.message));
      }
      expect(failures.join('\n\n')).to.equal('');
    });
  });
}
