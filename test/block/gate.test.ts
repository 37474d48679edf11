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

  for (const [what, source, message] of [
    ['an option that there is not', { fdd: 3 }, /source.fdd/],
    ['a number', 5, /source/],
    ['null', null, /source/],
    ['a descriptor that is no whole number', { fd: 1.5 }, /'source.fd'/],
    ['a negative descriptor', { fd: -1 }, /'source.fd'/],
    ['a text for a descriptor', { fd: '3' }, /'source.fd'/],
  ] as const) {
    it(`is told where it hands in ${what}`, async () => {
      const { graph } = await bench((_, open) => open(source as never));
      const error = await failureOf(openNode(graph, '/d/top'));
      expect(error.code).to.be.oneOf(['invalid-argument', 'unknown-option']);
      expect(error.message).to.match(message);
      expect(graph.nodes.size).to.equal(0);
    });
  }

  it('opens nothing after it has ended, and leaves nothing open that came too late', async () => {
    let late: Promise<OpenedReference> | undefined;
    let kept: (() => Promise<OpenedReference>) | undefined;
    const { graph, host } = await bench(async (_, open) => {
      kept = open;
      late = open();
      late.catch(() => undefined);
      throw new BlockError('permission', 'no');
    });
    let open = 0;
    const openFile = host.open.bind(host);
    host.open = async (...args) => {
      const file = await openFile(...args);
      const close = file.close.bind(file);
      open++;
      file.close = () => {
        open--;
        return close();
      };
      return file;
    };
    expect((await failureOf(openNode(graph, '/d/top'))).code).to.equal('permission');
    expect((await failureOf(late as Promise<OpenedReference>)).code).to.equal('bad-state');
    expect((await failureOf((kept as () => Promise<OpenedReference>)())).code).to.equal('bad-state');
    expect(open).to.equal(0);
  });
});
