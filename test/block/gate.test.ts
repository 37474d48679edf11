// The gate opens what images name: it sees where the name leads, and what was opened, and may refuse at both.

import { expect } from 'chai';
import { createImage } from '../../src/block/create.js';
import type { ImageReference, OpenedReference, OpenGate } from '../../src/block/gate.js';
import { openNode } from '../../src/block/open.js';
import { BlockError } from '../../src/util/errors.js';
import { failureOf, makeBench } from '../drivers/support.js';

const SIZE = 1 << 20;

/** An overlay `/d/top` whose header names `link`, which leads to `/d/base`. */
async function bench(open: OpenGate['open']) {
  const made = makeBench({}, { gate: { open: (reference, asUsual) => gate.open(reference, asUsual) } });
  const gate: OpenGate = { open: (_, asUsual) => asUsual() };
  await createImage(made.graph, '/d/base', { driver: 'qcow2', size: SIZE });
  await createImage(made.graph, '/e/base', { driver: 'qcow2', size: SIZE });
  made.host.symlink('/d/link', '/d/base');
  await createImage(made.graph, '/d/top', {
    driver: 'qcow2',
    size: SIZE,
    'backing-file': 'link',
    'backing-fmt': 'qcow2',
  });
  gate.open = open;
  return made;
}

describe('a gate', () => {
  it('is called with where the name leads, and opens it', async () => {
    const seen: (ImageReference | OpenedReference)[] = [];
    const { graph } = await bench(async (reference, open) => {
      const opened = await open();
      seen.push(reference, opened);
      return opened;
    });
    const top = await openNode(graph, '/d/top');
    expect(top.children.get('backing')?.node.length).to.equal(SIZE);
    expect(seen).to.deep.equal([
      { referrer: '/d/top', child: 'backing', driver: 'file', target: '/d/base', kind: 'file', readOnly: true },
      { target: '/d/base', kind: 'file' },
    ]);
    await graph.closeAll();
  });

  it('refuses what was opened, whatever its name led to before; it is closed, and nothing stays open', async () => {
    const { graph, host } = await bench(async ({ target }, open) => {
      expect(target).to.equal('/d/base');
      await host.unlink('/d/link');
      host.symlink('/d/link', '/e/base');
      const opened = await open();
      throw new BlockError('permission', `${opened.target} is not for this image`);
    });
    const error = await failureOf(openNode(graph, '/d/top'));
    expect(error.code).to.equal('permission');
    expect(error.message).to.equal('Could not open backing file: /e/base is not for this image');
    expect(graph.nodes.size).to.equal(0);
    const base = await openNode(graph, '/e/base');
    await graph.release(base);
  });

  it('has to resolve to what it opened', async () => {
    const { graph } = await bench(async (_, open) => ({ ...(await open()) }));
    const error = await failureOf(openNode(graph, '/d/top'));
    expect(error.code).to.equal('invalid-argument');
    expect(error.message).to.contain('must resolve to what');
  });
});
