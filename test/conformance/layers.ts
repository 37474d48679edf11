// What comes from a backing image, and compressed clusters.

import { expect } from 'chai';
import { backingOf } from '../../src/block/chain.js';
import { backingFileOf, needFormat } from '../../src/block/node/format.js';
import { expectAllHonest, expectContent, expectSame } from './checks.js';
import { codeOf } from './entry.js';
import type { Suite } from './suite.js';

export function layerBehaviours({ capabilities, size, unit, behaves }: Suite): void {
  if (capabilities.backing) {
    behaves(
      'copies what it needs from below and leaves the backing image alone',
      async ({ node, fresh, below, seed, place }) => {
        const before = place.sim?.readFile('/base') ?? null;
        for (const offset of [1, Math.floor(size / 2), size - 2]) {
          await node.write(offset, Uint8Array.of(77));
          fresh[offset] = 77;
        }
        await expectContent(node, fresh);
        await expectAllHonest(node, below, seed);
        if (before !== null) expectSame(place.sim!.readFile('/base'), before, 'backing file');
      },
    );

    behaves('knows that it reads as zeroes beyond the end of what is below', async ({ node }) => {
      const end = backingOf(node)!.length;
      if (end >= size) return;
      expect(await node.blockStatus(end, size - end)).to.include({ data: false, zero: true, allocated: false });
      expect((await node.blockStatus(0, size)).length).to.be.at.most(end);
    });

    if (capabilities.renamesBacking)
      behaves('names no backing file any more after it was told so', async ({ node, again, fresh }) => {
        await node.write(0, fresh);
        await needFormat(node).changeBackingFile(null, null);
        const opened = needFormat(await again());
        expect([opened.children.has('backing'), opened.backingFile, opened.backingFormat]).to.deep.equal([
          false,
          null,
          null,
        ]);
        await expectContent(opened, fresh);
      });
  } else {
    behaves('has no backing node', async ({ node }) => {
      expect([node.children.has('backing'), backingFileOf(node)]).to.deep.equal([false, null]);
    });
  }

  if (capabilities.compressed > 0) {
    behaves('takes compressed clusters, and writes over parts of them', async ({ node, fresh, below, again, seed }) => {
      const bytes = new Uint8Array(3 * unit).fill(65);
      await node.write(unit, bytes.subarray(0, 2 * unit), { compressed: true });
      fresh.fill(65, unit, 3 * unit);
      await expectContent(node, fresh);
      expect((await node.blockStatus(unit, 1)).compressed).to.equal(true);
      await node.write(unit + 5, Uint8Array.of(1, 2, 3));
      fresh.set([1, 2, 3], unit + 5);
      await node.writeZeroes(2 * unit + 1, unit - 1);
      fresh.fill(0, 2 * unit + 1, 3 * unit);
      const opened = await again();
      await expectContent(opened, fresh);
      await expectAllHonest(opened, below, seed);
    });

    behaves('refuses a compressed write that is no whole cluster', async ({ node, fresh }) => {
      // One that makes whole clusters of all that is written.
      if (node.requestAlignment === unit) return;
      for (const [offset, length] of [
        [1, unit],
        [0, unit - 1],
        [unit, 1],
      ]) {
        const request = node.write(offset, new Uint8Array(length), { compressed: true });
        expect(await codeOf(request), `${offset}+${length}`).to.equal('unsupported');
      }
      await expectContent(node, fresh);
    });
  } else if (capabilities.compressedPlain) {
    behaves('takes a compressed write as any other', async ({ node, fresh, again }) => {
      await node.write(0, new Uint8Array(unit).fill(65), { compressed: true });
      fresh.fill(65, 0, unit);
      expect((await node.blockStatus(0, 1)).compressed).to.equal(false);
      await expectContent(await again(), fresh);
    });
  } else {
    behaves('refuses a compressed write, or takes none of it', async ({ node, fresh }) => {
      if (!capabilities.keeps || node.kind === 'protocol') return;
      const request = node.write(0, new Uint8Array(4096).fill(1), { compressed: true });
      expect(await codeOf(request)).to.equal('unsupported');
      await expectContent(node, fresh);
    });
  }
}
