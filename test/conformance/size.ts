// Changes of an image's size, and an image that is emptied.

import { expect } from 'chai';
import type { Located } from '../../src/block/types.js';
import { reopenUsed } from '../drivers/support.js';
import { expectAllHonest, expectContent, expectSame, statusRuns } from './checks.js';
import { codeOf } from './entry.js';
import { bytesOf, type Suite } from './suite.js';

export function sizeBehaviours({ capabilities, driver, size, unit, behaves }: Suite): void {
  if (capabilities.truncate > 0 && !capabilities.shrinks) {
    behaves('grows with zeroes, and does not shrink', async ({ node, fresh, below, seed, again }) => {
      await node.write(0, fresh.fill(3));
      expect(await codeOf(node.truncate(size - 512))).to.equal('unsupported');
      for (const step of [0, 512, 1024, unit, 0, 5 * unit + 512]) {
        await node.truncate(node.length + step);
        await expectContent(node, grownTo(fresh, node.length));
      }
      const expected = grownTo(fresh, node.length);
      await node.write(node.length - 1000, new Uint8Array(1000).fill(4));
      expected.fill(4, node.length - 1000);
      const opened = await again();
      await expectContent(opened, expected);
      await expectAllHonest(opened, below, seed);
    });
  } else if (capabilities.truncate > 0) {
    behaves(
      'grows with zeroes and shrinks, and what was cut off does not come back',
      async ({ node, fresh, below, seed, again }) => {
        await node.write(0, fresh.fill(3));
        const cut = Math.floor(size / 3 / 512) * 512;
        const grown = size + 5 * unit + 512;
        await node.truncate(cut);
        expect(node.length).to.equal(cut);
        await expectContent(node, fresh.subarray(0, cut));
        expect(await codeOf(node.read(cut, new Uint8Array(1)))).to.equal('out-of-bounds');
        await node.truncate(grown);
        const expected = new Uint8Array(grown);
        expected.set(fresh.subarray(0, cut));
        await expectContent(node, expected);
        await node.write(grown - 1000, new Uint8Array(1000).fill(4));
        expected.fill(4, grown - 1000);
        const opened = await again();
        await expectContent(opened, expected);
        await expectAllHonest(opened, below, seed);
      },
    );

    behaves('grows by little steps, and by none', async ({ node, fresh, below, seed }) => {
      for (const step of [0, 512, 1024, unit, 0, 3 * unit + 512]) {
        await node.truncate(node.length + step);
        await node.write(node.length - 1, Uint8Array.of(1));
      }
      await node.truncate(size);
      if (fresh.length > 0) fresh[size - 1] = 1;
      await expectContent(node, fresh);
      await expectAllHonest(node, below, seed);
    });

    behaves('shrinks to nothing and grows again', async ({ node, again, below, seed }) => {
      await node.write(0, new Uint8Array(size).fill(1));
      await node.truncate(0);
      expect(node.length).to.equal(0);
      await node.read(0, new Uint8Array(0));
      const opened = await again();
      expect(opened.length).to.equal(0);
      await opened.truncate(size);
      await expectContent(opened, new Uint8Array(size));
      await expectAllHonest(opened, below, seed);
    });
  } else {
    behaves('does not change its size', async ({ node }) => {
      expect(await codeOf(node.truncate(size + 512))).to.equal('unsupported');
      expect(node.length).to.equal(size);
    });
  }

  if (capabilities.makeEmpty) {
    behaves('is emptied: everything comes from below', async ({ node, below, again, seed }) => {
      await node.write(0, new Uint8Array(size).fill(6));
      await node.makeEmpty();
      // Before it is read: copy-on-read fetches what it reads.
      expect(bytesOf(await statusRuns(node), 'allocated')).to.equal(0);
      await expectContent(node, below);
      const opened = await again();
      await expectContent(opened, below);
      await expectAllHonest(opened, below, seed);
    });

    if (capabilities.reopen) {
      behaves(
        'that was emptied keeps what a read may still go to when it becomes read-only',
        async ({ node, place }) => {
          await node.write(0, new Uint8Array(size).fill(6));
          const located: Located = { file: null, offset: 0, guard: null };
          if (place.sim === null || !node.locate(0, 512, false, located)) return;
          // Where there is a guard, the node waits for the read.
          const isGuarded = located.guard !== null;
          located.guard?.release();
          if (isGuarded) return;
          await node.makeEmpty();
          await reopenUsed(node, true);
          const there = place.sim.readFile(`/${driver.content}`).subarray(located.offset, located.offset + 512);
          expectSame(there, new Uint8Array(512).fill(6), 'what was located');
          await reopenUsed(node, false);
          await node.graph.closeAll();
          const left = place.sim.readFile(`/${driver.content}`).subarray(located.offset, located.offset + 512);
          expectSame(left, new Uint8Array(left.length), 'what was located, after the close');
        },
      );
    }
  } else {
    behaves('is not emptied', async ({ node, fresh }) => {
      expect(await codeOf(node.makeEmpty())).to.equal('unsupported');
      await expectContent(node, fresh);
    });
  }
}

/** `content`, and zeroes up to `length`. */
function grownTo(content: Uint8Array, length: number): Uint8Array {
  const grown = new Uint8Array(length);
  grown.set(content);
  return grown;
}
