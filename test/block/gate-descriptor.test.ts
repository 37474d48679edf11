// A gate hands in descriptors of the program in place of the names that images have.

import { closeSync, constants, copyFileSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { createImage } from '../../src/block/create.js';
import type { OpenGate } from '../../src/block/gate.js';
import { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import { PERM_ALL, Perm } from '../../src/block/types.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { openRealHost } from '../../src/host/real/index.js';
import { failureOf } from '../drivers/support.js';

const SIZE = 1 << 20;

describe('a gate that hands in a file descriptor', () => {
  const folder = mkdtempSync(join(tmpdir(), 'diskwright-gate-'));
  const base = join(folder, 'base');
  const kept = join(folder, 'kept');
  const top = join(folder, 'top');
  const host = openRealHost();
  before(async () => {
    registerDrivers();
    const graph = new Graph(host);
    await createImage(graph, base, { driver: 'raw', size: SIZE });
    await createImage(graph, top, { driver: 'qcow2', size: SIZE, 'backing-file': base, 'backing-fmt': 'raw' });
    copyFileSync(base, kept);
    await host.unlink(base);
  });
  after(async () => {
    await host.close();
    rmSync(folder, { recursive: true });
  });

  const openOver = async (flags: number | string, readOnly = true) => {
    const fd = openSync(kept, flags);
    const targets: string[] = [];
    const gate: OpenGate = {
      async open(_, open) {
        const opened = await open({ fd });
        targets.push(opened.target);
        return opened;
      },
    };
    const graph = new Graph(host, { gate });
    const opening = openNode(graph, top, { readOnly: true }).then(async (node) => {
      node.attach({ userName: 'reader' }, 'root', Perm.CONSISTENT_READ, PERM_ALL);
      const below = node.children.get('backing')!.node;
      if (!readOnly) await below.reopen(false);
      return below;
    });
    return { fd, graph, targets, opening };
  };

  it('has it opened, whatever the name leads to; the program closes its own when it likes', async () => {
    const { fd, graph, targets, opening } = await openOver('r');
    const below = await opening;
    closeSync(fd);
    expect(targets).to.deep.equal([kept]);
    expect(below.filename).to.equal(base);
    expect(below.length).to.equal(SIZE);
    await graph.closeAll();
  });

  it('gets its locks back when the image is closed, though the descriptor stays open', async () => {
    const { fd, graph, opening } = await openOver('r');
    await opening;
    const other = await host.open(kept, { writable: true });
    expect(other.lockConflicts('exclusive', 100, 150)).to.equal(true);
    await graph.closeAll();
    expect(other.lockConflicts('exclusive', 100, 150)).to.equal(false);
    await other.close();
    closeSync(fd);
  });

  it('is reopened for writing where the descriptor is open for that, and only there', async () => {
    for (const [flags, code] of [
      ['r', 'permission'],
      ['r+', null],
    ] as const) {
      const { fd, graph, opening } = await openOver(flags, false);
      if (code === null) expect((await opening).readOnly).to.equal(false);
      else expect((await failureOf(opening)).code).to.equal(code);
      await graph.closeAll();
      closeSync(fd);
    }
  });

  it('is refused one that is not open for reading, and one that is none', async () => {
    const { fd, opening } = await openOver(constants.O_WRONLY);
    const error = await failureOf(opening);
    expect(error.code).to.equal('permission');
    expect(error.message).to.contain(`file descriptor ${fd} is not open for reading`);
    closeSync(fd);
    const graph = new Graph(host, { gate: { open: (_, open) => open({ fd: 1_000_000 }) } });
    expect((await failureOf(openNode(graph, top, { readOnly: true }))).message).to.contain('Bad file descriptor');
  });
});
