// Exports of a daemon whose server fails while it closes.

import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { openRealHost } from '../../src/host/real/index.js';
import { Drives } from '../../src/workspace/drives.js';
import { Exports } from '../../src/workspace/exports.js';
import { failureOf } from '../drivers/support.js';

describe('exports of a daemon', () => {
  it('are gone when their server has stopped, also where the file of its socket cannot be removed', async () => {
    registerDrivers();
    const folder = mkdtempSync(join(tmpdir(), 'diskwright-exports-'));
    const path = (name: string) => join(folder, name);
    const host = openRealHost();
    const graph = new Graph(host);
    const deleted: string[] = [];
    const exports = new Exports(graph, new Drives(graph, () => undefined), (id) => deleted.push(id));
    try {
      writeFileSync(path('a'), Buffer.alloc(65536));
      const node = await openNode(graph, {
        driver: 'raw',
        'node-name': 'a',
        file: { driver: 'file', filename: path('a') },
      });
      mkdirSync(path('folder'));
      await exports.startServer({ type: 'unix', path: path('folder/socket') }, {});
      for (const id of ['e', 'f']) await exports.add({ type: 'nbd', id, 'node-name': 'a', name: id, writable: true });
      // From here on the socket's name leads round in a circle.
      renameSync(path('folder'), path('moved'));
      symlinkSync('folder', path('folder'));

      expect((await failureOf(exports.stopServer())).errno).to.equal('ELOOP');
      expect(deleted).to.deep.equal(['e', 'f']);
      expect(exports.list()).to.deep.equal([]);
      expect(node.parents.size).to.equal(0);
      await exports.startServer({ type: 'unix', path: path('other') }, {});
      await exports.add({ type: 'nbd', id: 'e', 'node-name': 'a', writable: true });
      await exports.close();
      await graph.closeAll();
    } finally {
      await host.close();
      rmSync(folder, { recursive: true });
    }
  });
});
