// What an image reads after writes, zeroes and discards, and what it knows of its content.

import { expect } from 'chai';
import type { Located } from '../../src/block/types.js';
import { contentOf, expectAllHonest, expectContent, expectSame, statusRuns } from './checks.js';
import { codeOf } from './entry.js';
import { randomRun } from './random-run.js';
import { bytesOf, PAGE, SEEDS, type Suite } from './suite.js';

export function contentBehaviours({ capabilities, size, unit, behaves }: Suite): void {
  behaves('is new', async ({ node, fresh, below, seed, again }) => {
    expect(node.length).to.equal(size);
    await expectContent(node, fresh);
    await expectAllHonest(node, below, seed);
    await expectContent(await again(true), fresh);
  });

  for (const seed of SEEDS) {
    behaves(
      `reads what was written, at any place and length (seed ${seed})`,
      async ({ node, fresh, below, again }) => {
        const { keeps, compressed } = capabilities;
        for (let part = 0; part < 3; part++) {
          await randomRun(node, fresh, { seed: seed * 10 + part, steps: 25, unit, keeps, compressed });
          await expectContent(node, fresh);
          await expectAllHonest(node, below, seed);
        }
        const opened = await again(true);
        await expectContent(opened, fresh);
        await expectAllHonest(opened, below, seed);
      },
      seed,
    );
  }

  behaves('refuses what lies outside', async ({ node, fresh }) => {
    const buffer = new Uint8Array(1024).fill(1);
    for (const offset of [size - 1023, size, 2 ** 52]) {
      expect(await codeOf(node.read(offset, buffer))).to.equal('out-of-bounds');
      expect(await codeOf(node.write(offset, buffer))).to.equal('out-of-bounds');
      expect(await codeOf(node.writeZeroes(offset, 1024))).to.equal('out-of-bounds');
      expect(await codeOf(node.discard(offset, 1024))).to.equal('out-of-bounds');
      expect(await codeOf(node.blockStatus(offset, 1024))).to.equal('out-of-bounds');
    }
    await expectContent(node, fresh);
  });

  behaves('zeroes the whole of it, and its first and last bytes', async ({ node, fresh, below, seed }) => {
    await node.write(0, fresh.fill(7));
    if (!capabilities.keeps) fresh.fill(0);
    await node.writeZeroes(0, 1);
    await node.writeZeroes(size - 1, 1);
    fresh[0] = fresh[size - 1] = 0;
    await expectContent(node, fresh);
    await node.writeZeroes(0, size, { mayUnmap: true });
    await expectContent(node, fresh.fill(0));
    await expectAllHonest(node, below, seed);
    if (capabilities.zeroStatus) expect(bytesOf(await statusRuns(node), 'data')).to.be.at.most(2 * PAGE);
  });

  behaves('may be discarded as a whole', async ({ node, fresh, below, seed, again }) => {
    await node.write(0, fresh.fill(7));
    await node.discard(0, size);
    const content = await contentOf(node);
    expect(content.findIndex((byte) => byte !== 0 && byte !== 7)).to.equal(-1);
    await expectAllHonest(node, below, seed);
    await expectContent(await again(), content);
  });

  if (capabilities.zeroStatus && capabilities.keeps) {
    behaves('tells data from zeroes', async ({ node, below, seed }) => {
      await node.writeZeroes(0, size, { mayUnmap: true });
      const at = Math.floor(size / 2 / unit) * unit;
      await node.write(at, new Uint8Array(unit).fill(1));
      expect((await node.blockStatus(at, unit)).data).to.equal(true);
      expect(bytesOf(await statusRuns(node), 'data')).to.be.within(unit, unit + 3 * PAGE);
      await expectAllHonest(node, below, seed);
    });
  }

  if (capabilities.locate) {
    behaves('knows where plain data lies', async ({ node }) => {
      await node.write(0, new Uint8Array(size).fill(1));
      await node.flush();
      const place: Located = { file: null, offset: 0, guard: null };
      expect(node.locate(0, 512, false, place)).to.equal(true);
      const there = new Uint8Array(512);
      await place.file!.read(place.offset, there);
      place.guard?.release();
      expectSame(there, new Uint8Array(512).fill(1), 'located');
    });
  }
}
