// Images that are made where something was before: nothing of it is left, whatever the node is that they go to.

import { expect } from 'chai';
import { createNode } from '../../src/block/create.js';
import { openNode } from '../../src/block/open.js';
import { allDrivers } from '../../src/block/registry.js';
import { registerDrivers } from '../../src/drivers/index.js';
import type { BlockdevCreateOptions } from '../../src/schema/generated/types.js';
import { checkImage } from '../../src/workspace/check.js';
import { makeBench, readNode } from '../drivers/support.js';

const MIB = 1 << 20;
const SIZE = 4 * MIB;

registerDrivers();
const FORMATS = [...allDrivers()].filter(
  ({ name, kind, create }) => kind === 'format' && create !== undefined && name !== 'luks',
);
const MORE: readonly object[] = [
  { driver: 'qcow2', preallocation: 'metadata' },
  { driver: 'qcow2', 'cluster-size': 512 },
];

/** What the image goes to, over the file '/a'. */
const PLACES: Readonly<Record<string, object>> = {
  'a file': { driver: 'file', filename: '/a' },
  'a raw node over a file': { driver: 'raw', file: { driver: 'file', filename: '/a' } },
};

describe('an image that is made in the place of old content', () => {
  for (const [what, file] of Object.entries(PLACES)) {
    for (const options of [...FORMATS.map(({ name }) => ({ driver: name })), ...MORE]) {
      it(`reads as zeroes, in ${what}: ${JSON.stringify(options)}`, async () => {
        const bench = makeBench();
        bench.host.writeFile('/a', Buffer.alloc(8 * MIB, 0xff));
        await createNode(bench.graph, { ...options, size: SIZE, file } as unknown as BlockdevCreateOptions);
        const { driver } = options as { driver: string };
        const node = await openNode(bench.graph, '/a', { format: driver, readOnly: true });
        const content = Buffer.alloc(node.length);
        await readNode(node, 0, content);
        expect(content.equals(Buffer.alloc(content.length))).to.equal(true);
        const canCheck = node.abilities.check !== undefined;
        await bench.graph.closeAll();
        if (!canCheck) return;
        const { result } = await checkImage(bench.graph, '/a', { format: driver }, () => undefined);
        expect([result.checkErrors, result.corruptions, result.leaks]).to.deep.equal([0, 0, 0]);
      });
    }
  }
});
