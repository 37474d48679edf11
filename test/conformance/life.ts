// An image that is closed and opened, read-only or for writing, and reopened.

import { expect } from 'chai';
import { formatOf } from '../../src/block/node/format.js';
import { reopenUsed } from '../drivers/support.js';
import { expectAllHonest, expectContent, expectSame } from './checks.js';
import { codeOf } from './entry.js';
import type { Suite } from './suite.js';

export function lifeBehaviours({ capabilities, size, behaves }: Suite): void {
  behaves('is as it was after it is closed and opened, many times', async ({ fresh, again, below, seed }) => {
    for (let i = 0; i < 4; i++) {
      const node = await again();
      const offset = i * 700;
      const bytes = new Uint8Array(3000).fill(i + 1);
      await node.write(offset, bytes);
      if (capabilities.keeps) fresh.set(bytes, offset);
    }
    const node = await again(true);
    await expectContent(node, fresh);
    await expectAllHonest(node, below, seed);
  });

  behaves(
    'that is opened read-only refuses every change and changes no byte of its file',
    async ({ again, place, fresh }) => {
      if (!capabilities.readOnly) return;
      const node = await again(true);
      const before = place.sim?.exists('/a') ? place.sim.readFile('/a') : null;
      const refused = [
        node.write(0, new Uint8Array(512)),
        node.writeZeroes(0, 512),
        node.discard(0, 512),
        node.truncate(512),
        node.makeEmpty(),
      ];
      const format = formatOf(node);
      if (format !== null) refused.push(format.changeBackingFile(null, null));
      for (const request of refused) expect(await codeOf(request)).to.equal('read-only');
      await node.flush();
      await expectContent(node, fresh);
      await node.graph.closeAll();
      if (before !== null) expectSame(place.sim!.readFile('/a'), before, 'file');
    },
  );

  if (capabilities.reopen) {
    behaves('is reopened read-only and back', async ({ node, fresh, below, seed }) => {
      await node.write(100, new Uint8Array(5000).fill(9));
      if (capabilities.keeps) fresh.fill(9, 100, 5100);
      await reopenUsed(node, true);
      expect(node.readOnly).to.equal(true);
      expect(await codeOf(node.write(0, new Uint8Array(1)))).to.equal('read-only');
      await expectContent(node, fresh);
      await reopenUsed(node, false);
      await node.write(size - 3000, new Uint8Array(3000).fill(8));
      if (capabilities.keeps) fresh.fill(8, size - 3000);
      await expectContent(node, fresh);
      await expectAllHonest(node, below, seed);
    });

    behaves('is opened read-only and reopened for writing', async ({ again, fresh }) => {
      const node = await again(true);
      await reopenUsed(node, false);
      await node.write(0, new Uint8Array(1000).fill(5));
      if (capabilities.keeps) fresh.fill(5, 0, 1000);
      await expectContent(await again(true), fresh);
    });
  }
}
