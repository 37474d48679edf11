// Names inside images that say how an image is used, too: QEMU writes such ones. What they name is opened, and used as its user wants it.

import { expect } from 'chai';
import { backingNameFor } from '../../src/block/backing-name.js';
import { checkBackingFile, createImage } from '../../src/block/create.js';
import { parseFilename } from '../../src/block/filename.js';
import { imageOptions } from '../../src/block/foreign-name.js';
import { openNode } from '../../src/block/open.js';
import { failureOf, makeBench } from '../drivers/support.js';

const FILE = { driver: 'file', filename: '/base.qcow2' };
const SIZE = 1 << 20;

const json = (options: object): string => `json:${JSON.stringify(options)}`;

const USES: readonly object[] = [
  { driver: 'qcow2', 'l2-cache-size': 1 << 20, file: FILE },
  { driver: 'qcow2', discard: 'unmap', file: FILE },
  { driver: 'qcow2', cache: { direct: true, 'no-flush': true }, file: FILE },
  { driver: 'qcow2', 'lazy-refcounts': true, file: FILE },
  { driver: 'qcow2', 'auto-read-only': true, 'read-only': false, 'force-share': true, file: FILE },
  { driver: 'qcow2', 'overlap-check': 'none', file: { ...FILE, locking: 'off', aio: 'native' } },
  { driver: 'qcow2', 'file.driver': 'file', 'file.filename': '/base.qcow2', 'file.cache.no-flush': 'on' },
];

async function bench() {
  const { host, graph } = makeBench();
  await createImage(graph, '/base.qcow2', { driver: 'qcow2', size: SIZE });
  return { host, graph };
}

describe('a name inside an image that says how it is used', () => {
  for (const use of USES) {
    it(`is followed: ${JSON.stringify(use)}`, async () => {
      const { graph } = await bench();
      const name = json(use);
      const overlay = { driver: 'qcow2', size: SIZE, 'backing-file': name, 'backing-fmt': 'qcow2' } as const;
      expect(await checkBackingFile(graph, '/top.qcow2', overlay)).to.equal(SIZE);
      await createImage(graph, '/top.qcow2', overlay);
      const top = await openNode(graph, '/top.qcow2', { readOnly: true });
      expect(top.children.get('backing')?.node.readOnly).to.equal(true);
      expect(top.children.get('backing')?.node.length).to.equal(SIZE);
      // What may be opened may be written down, too.
      expect(await backingNameFor('/other.qcow2', top.children.get('backing')!.node, { asked: name })).to.equal(name);
      await graph.closeAll();
    });
  }

  it('decides nothing of it', () => {
    const options = imageOptions(parseFilename(json(USES[2])), '/top.qcow2');
    expect(options.members).to.deep.equal({ driver: 'qcow2', file: FILE });
  });

  it("is refused by the name of the file where it asks for what is the program's, and is not written", async () => {
    const { graph } = await bench();
    const name = json({ driver: 'qcow2', 'node-name': 'mine', file: FILE });
    expect(() => imageOptions(parseFilename(name), '/top.qcow2')).to.throw(
      "'/top.qcow2' refers to '/base.qcow2', which is not opened: an image cannot ask for node-name=mine",
    );
    const overlay = { driver: 'qcow2', size: SIZE, 'backing-file': name, 'backing-fmt': 'qcow2' } as const;
    expect((await failureOf(checkBackingFile(graph, '/top.qcow2', overlay))).code).to.equal('permission');
    const base = await openNode(graph, '/base.qcow2', { readOnly: true });
    expect((await failureOf(backingNameFor('/top.qcow2', base, { asked: name }))).code).to.equal('invalid-argument');
    await graph.closeAll();
  });

  it('is written, though no image may say it, where there is nothing outside of this process; another name is not', async () => {
    const { graph } = await bench();
    const node = await openNode(graph, { driver: 'null-co', size: SIZE });
    expect(await backingNameFor('/top.qcow2', node)).to.equal(node.filename);
    const asked = 'json:{"driver":"null-co","size":512}';
    expect((await failureOf(backingNameFor('/top.qcow2', node, { asked }))).code).to.equal('invalid-argument');
    await graph.closeAll();
  });
});
