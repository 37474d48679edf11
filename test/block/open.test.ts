// Opening: names, settings that children inherit, and that a refusal leaves nothing open.

import { expect } from 'chai';
import { createImage } from '../../src/block/create.js';
import { openNode } from '../../src/block/open.js';
import { PERM_ALL, Perm } from '../../src/block/types.js';
import type { BlockdevOptions } from '../../src/schema/generated/types.js';
import { failureOf, makeBench, pattern } from '../drivers/support.js';

function bench() {
  const made = makeBench();
  for (const path of ['/d/a', '/d/zzz:foo', '/plain']) made.host.writeFile(path, pattern(4096));
  return made;
}

describe('openNode', () => {
  const taken = [
    '/d/a',
    'file:/d/a',
    '/d/zzz:foo',
    'json:{"file.filename":"/d/a"}',
    'json:{"driver":"raw","file.filename":"/d/a"}',
  ];
  for (const name of taken) {
    it(`opens ${name}`, async () => {
      const { graph } = bench();
      expect(await openNode(graph, name, { readOnly: true })).to.include({ driver: 'raw', length: 4096 });
    });
  }

  const refused: [string, string | undefined, string][] = [
    ['zzz:foo', undefined, "Unknown protocol 'zzz'"],
    ['gluster://localhost/a', undefined, "Unknown protocol 'gluster'"],
    [':foo', undefined, "Unknown protocol ''"],
    ['file:', undefined, "The 'file' block driver requires a file name"],
    ['/d/a', 'zz', "Unknown driver 'zz'"],
    ['json:{}', undefined, 'Must specify either driver or file'],
    ['json:{"driver":"zz"}', undefined, "Unknown driver 'zz'"],
    ['json:{"driver":"raw","file":"nobody"}', undefined, "Cannot find device='nobody' nor node-name='nobody'"],
    ['json:{"driver":"file","filename":"/d/a"}', 'raw', 'A block device must be specified for "file"'],
    ['/none', undefined, "Could not open '/none': No such file or directory"],
    ['/d\0/a', undefined, 'A file name cannot contain a zero byte'],
  ];
  for (const [name, format, message] of refused) {
    it(`says of ${JSON.stringify(name)}: ${message}`, async () => {
      const { graph } = bench();
      const error = await failureOf(openNode(graph, name, { format }));
      expect(error.message).to.equal(message);
      expect(graph.nodes.size).to.equal(0);
    });
  }

  it('hands read-only and cache on to the file, and lets discards through to it', async () => {
    const { graph } = bench();
    const node = await openNode(graph, '/d/a', { format: 'raw', readOnly: true, cache: { direct: true } });
    const file = node.children.get('file')!.node;
    expect(file.readOnly).to.equal(true);
    expect(file.hostFile()!.direct).to.equal(true);
    expect([node.discardMode, file.discardMode]).to.deep.equal(['ignore', 'unmap']);
  });

  it("prefers a node's own options", async () => {
    const { graph } = bench();
    const file = { driver: 'file', filename: '/d/a', 'read-only': false, 'node-name': 'below' } as const;
    const node = await openNode(graph, { driver: 'raw', 'read-only': true, file }, { nodeName: 'unused' });
    expect([node.readOnly, graph.find('below').readOnly]).to.deep.equal([true, false]);
  });

  it('takes a node that is there as file, and leaves it open', async () => {
    const { graph } = bench();
    const below = await openNode(graph, { driver: 'file', filename: '/d/a', 'node-name': 'below' });
    below.attach({ userName: 'test' }, 'root', 1, 15);
    const node = await openNode(graph, { driver: 'raw', file: 'below' });
    await graph.release(node);
    expect(below.closed).to.equal(false);
  });

  for (const name of ['1a', '', 'a,b', 'a'.repeat(32), '#block0']) {
    it(`refuses '${name}' as the name of a node`, async () => {
      const { graph } = bench();
      const error = await failureOf(openNode(graph, '/d/a', { nodeName: name }));
      expect(error).to.include({
        code: 'invalid-argument',
        message: name.length > 31 ? 'Node name too long' : `Invalid node-name: '${name}'`,
      });
    });
  }

  it('lets go of the children that a node had before it was refused, and what was written to them reaches the disk', async () => {
    const bench = makeBench();
    const { graph, host } = bench;
    for (const name of ['/disk', '/taken']) host.writeFile(name, new Uint8Array(65536));
    const file = (name: string) =>
      openNode(graph, { driver: 'file', 'node-name': name, filename: `/${name}` } as BlockdevOptions);
    const disk = await file('disk');
    const taken = await file('taken');
    const hold = disk.attach({ userName: 'a monitor' }, 'root', 0, PERM_ALL);
    taken.attach({ userName: 'a reader' }, 'root', Perm.CONSISTENT_READ, Perm.CONSISTENT_READ);
    const refused: object[] = [
      { driver: 'copy-before-write', file: 'disk', target: 'taken' },
      { driver: 'copy-before-write', file: 'disk', target: 'disk', bitmap: { node: 'disk', name: 'none' } },
      { driver: 'blklogwrites', file: 'disk', log: 'taken' },
      { driver: 'quorum', children: ['disk', 'taken'], 'vote-threshold': 1, 'rewrite-corrupted': true },
      { driver: 'copy-on-read', file: 'disk', bottom: 'none' },
      { driver: 'throttle', file: 'disk', 'throttle-group': 'none' },
    ];
    for (const options of refused) {
      await failureOf(openNode(graph, options as BlockdevOptions));
      expect([disk.parents.size, taken.parents.size], JSON.stringify(options)).to.deep.equal([1, 1]);
    }
    const guest = disk.attach({ userName: 'a guest' }, 'root', Perm.WRITE, PERM_ALL);
    await guest.write(0, Uint8Array.of(7));
    for (const link of [guest, hold]) disk.detach(link);
    await graph.closeAll();
    expect([disk.closed, host.durableFile('/disk')[0]]).to.deep.equal([true, 7]);
  });

  it('refuses a name twice, before it opens anything', async () => {
    const { graph, host } = bench();
    await openNode(graph, '/d/a', { nodeName: 'x' });
    const opened = host.count('open');
    const error = await failureOf(openNode(graph, '/plain', { nodeName: 'x' }));
    expect(error).to.include({ code: 'exists', message: "Duplicate nodes with node-name='x'" });
    expect(host.count('open')).to.equal(opened);
  });

  it('refuses a backing node that has the name of the image above it', async () => {
    const made = makeBench();
    for (const path of ['/base', '/top']) await createImage(made.graph, path, { driver: 'qcow2', size: 1 << 20 });
    const layer = (filename: string) => ({ driver: 'qcow2', file: { driver: 'file', filename } }) as const;
    const options = { ...layer('/top'), 'node-name': 'x', backing: { ...layer('/base'), 'node-name': 'x' } };
    const message = "Could not open backing file: Duplicate nodes with node-name='x'";
    expect(await failureOf(openNode(made.graph, options))).to.include({ code: 'exists', message });
    expect(made.graph.nodes.size).to.equal(0);
    // The name is free again.
    await openNode(made.graph, { ...layer('/top'), 'node-name': 'x' });
  });

  it('refuses detect-zeroes=unmap without discard=unmap', async () => {
    const { graph } = bench();
    expect((await failureOf(openNode(graph, '/d/a', { detectZeroes: 'unmap' }))).code).to.equal('invalid-argument');
    await openNode(graph, '/d/a', { detectZeroes: 'unmap', discard: 'unmap' });
  });
});
