// A name inside an image cannot ask for a filter that reads, or writes, other files than the one that is named.

import { expect } from 'chai';
import { createNode } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import { failureOf, makeBench } from '../support.js';

const victim = { driver: 'file', filename: '/victim', 'read-only': false };
const base = { driver: 'file', filename: '/base' };
const json = (options: object) => `json:${JSON.stringify(options)}`;

describe('filters in the name of a backing file', () => {
  for (const name of [
    'blkdebug:/rules:/base',
    'blkverify:/base:/base',
    json({ driver: 'blkdebug', config: '/rules', image: base }),
    json({ driver: 'blklogwrites', file: base, log: victim }),
    json({ driver: 'copy-before-write', file: base, target: victim }),
    json({ driver: 'quorum', 'vote-threshold': 1, 'rewrite-corrupted': true, children: [base, victim] }),
  ]) {
    it(`are refused: ${name}`, async () => {
      const bench = makeBench();
      for (const path of ['/base', '/victim', '/rules']) bench.host.writeFile(path, new Uint8Array(65536));
      const file = { driver: 'file', filename: '/top' } as const;
      await createNode(bench.graph, { ...file, size: 0 });
      const shape = { driver: 'qcow2', file, size: 65536, 'backing-fmt': 'raw' } as const;
      await createNode(bench.graph, { ...shape, 'backing-file': name });
      const error = await failureOf(openNode(bench.graph, '/top', { format: 'qcow2' }));
      expect(error.message).to.match(/an image cannot ask for/);
    });
  }
});
