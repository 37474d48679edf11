// Backing files: how their names are resolved, the gate that they are opened through, loops and depth. The format is a
// made-up one under the name of qcow2: a line with the name of the backing file, and one with its format.

import { expect } from 'chai';
import { chainOf } from '../../src/block/chain.js';
import { withLink } from '../../src/block/child.js';
import { Device } from '../../src/block/device.js';
import { denyGate, type OpenGate, sameFolderGate } from '../../src/block/gate.js';
import type { Graph } from '../../src/block/graph.js';
import { FormatNode, openBacking } from '../../src/block/node/format.js';
import type { BlockNode, NodeOptions } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import { type DriverDefinition, registerDriver } from '../../src/block/registry.js';
import { ROLES } from '../../src/block/roles.js';
import { type BlockStatus, PERM_ALL, Perm } from '../../src/block/types.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { failureOf, makeBench } from '../drivers/support.js';
import { nobody } from './support.js';

class NameNode extends FormatNode {
  override readonly driver = 'qcow2';
  override readonly filename: string;

  constructor(graph: Graph, options: NodeOptions, file: BlockNode, head: string) {
    super(graph, options);
    this.filename = file.filename;
    this.length = file.length;
    const [, backingFile, backingFormat] = head.split('\n');
    this.backingFile = backingFile || null;
    this.backingFormat = backingFormat || null;
  }

  protected override doRead(offset: number, buffer: Uint8Array): Promise<void> {
    return this.children.get('file')!.read(offset, buffer);
  }

  protected override doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    return this.children.get('file')!.blockStatus(offset, length);
  }
}

const nameDriver: DriverDefinition<'qcow2'> = {
  name: 'qcow2',
  kind: 'format',
  hasBacking: true,
  probe: (head) => (String.fromCharCode(...head.subarray(0, 4)) === 'NAME' ? 100 : 0),
  async open(request) {
    const { graph, node } = request;
    const file = await request.openChild('file', null, 'image');
    const head = new Uint8Array(file.length);
    const use = { user: nobody, role: 'root', perm: Perm.CONSISTENT_READ, shared: PERM_ALL } as const;
    await withLink(file, use, (link) => link.read(0, head));
    const made = new NameNode(graph, node, file, new TextDecoder().decode(head).replace(/\0.*$/s, ''));
    made.setChild('file', file, 'image', ROLES.image.permissions(request.use));
    await openBacking(request, made);
    return made;
  },
};

function bench(gate?: OpenGate) {
  const made = makeBench({}, { gate });
  const image = (path: string, backing = '', format = '') =>
    made.host.writeFile(path, new TextEncoder().encode(`NAME\n${backing}\n${format}\n`));
  return { ...made, image };
}

const names = (node: BlockNode): string[] => chainOf(node).map((layer) => layer.filename);

describe('backing files', () => {
  let undo: () => void;
  before(() => {
    registerDrivers();
    undo = registerDriver(nameDriver);
  });
  after(() => undo());

  const resolved: [string, string][] = [
    ['base', '/d/base'],
    ['./base', '/d/./base'],
    ['../e/base', '/d/../e/base'],
    ['/e/base', '/e/base'],
    ['file:/e/base', '/e/base'],
    ['json:{"driver":"raw","file.filename":"/e/base"}', '/e/base'],
  ];
  for (const [reference, path] of resolved) {
    it(`opens ${reference} of /d/top as ${path}`, async () => {
      const { graph, host, image } = bench();
      image('/d/top', reference);
      host.writeFile(path, new Uint8Array(512));
      expect(names(await openNode(graph, '/d/top'))).to.deep.equal(['/d/top', path]);
    });
  }

  it('are read-only, of the format that the header says, and not written while somebody counts on them', async () => {
    const { graph, image } = bench();
    image('/top', 'base', 'raw');
    image('/base', 'more');
    const [top, base] = chainOf(await openNode(graph, '/top'));
    new Device(top, { name: 'd', writable: false, shared: PERM_ALL & ~Perm.WRITE });
    expect(base).to.include({ driver: 'raw', readOnly: true });
    const writer = async () => base.attach({ userName: 'test' }, 'root', Perm.WRITE, PERM_ALL);
    expect((await failureOf(writer())).code).to.equal('read-only');
    await base.reopen(false);
    expect((await failureOf(writer())).message).to.contain("unshared by node '#block");
  });

  it('are not opened where nobody wants them', async () => {
    const { graph, image } = bench();
    image('/top', 'base');
    expect(names(await openNode(graph, '/top', { backing: false, readOnly: true }))).to.deep.equal(['/top']);
    const options = { driver: 'qcow2', backing: null, file: { driver: 'file', filename: '/top' } } as const;
    expect(names(await openNode(graph, { ...options, 'read-only': true }))).to.deep.equal(['/top']);
  });

  it('are what the options say, not the header', async () => {
    const { graph, image } = bench();
    image('/top', 'nothing');
    image('/other');
    const other = await openNode(graph, '/other', { readOnly: true, nodeName: 'other' });
    const options = { driver: 'qcow2', file: { driver: 'file', filename: '/top' }, backing: 'other' } as const;
    expect(chainOf(await openNode(graph, options))[1]).to.equal(other);
  });

  it('say who is missing, and nothing stays open', async () => {
    const { graph, image } = bench();
    image('/top', 'mid');
    image('/mid', 'base');
    expect(await failureOf(openNode(graph, '/top'))).to.include({
      code: 'not-found',
      message:
        "Could not open backing file: Could not open backing file: Could not open '/base': No such file or directory",
      path: '/base',
    });
    expect(graph.nodes.size).to.equal(0);
  });

  it('of an image in a window of a file are relative to the folder of that file', async () => {
    const { graph, image } = bench();
    image('/top', 'base');
    image('/base');
    const window = { driver: 'raw', offset: 0, file: { driver: 'file', filename: '/top' } } as const;
    const chain = chainOf(await openNode(graph, { driver: 'qcow2', file: window }, { readOnly: true }));
    expect(chain[1].filename).to.equal('/base');
  });

  for (const [what, links] of [
    ['itself', { '/a': 'a' }],
    ['itself by a link', { '/a': 'link' }],
    ['one above', { '/a': 'b', '/b': 'c', '/c': '../a' }],
  ] as const) {
    it(`that lead back to ${what} are refused`, async () => {
      const { graph, host, image } = bench();
      for (const [path, backing] of Object.entries(links)) image(path, backing);
      host.symlink('/link', '/a');
      const error = await failureOf(openNode(graph, '/a', { readOnly: true }));
      expect(error.code).to.equal('loop');
      expect(error.message).to.contain('creates an infinite loop');
      expect(graph.nodes.size).to.equal(0);
    });
  }

  it('are 200 deep at most', async () => {
    for (const [depth, code] of [
      [200, 'opened'],
      [201, 'limit'],
    ] as const) {
      const { graph, image } = bench();
      for (let i = 1; i <= depth; i++) image(`/${i}`, i < depth ? `${i + 1}` : '');
      const opening = openNode(graph, '/1', { readOnly: true });
      if (code === 'opened') expect(chainOf(await opening)).to.have.lengthOf(200);
      else expect((await failureOf(opening)).code).to.equal(code);
    }
  });
});

describe('backing files: the gate', () => {
  let undo: () => void;
  before(() => {
    registerDrivers();
    undo = registerDriver(nameDriver);
  });
  after(() => undo());

  const cases: [string, OpenGate, string, boolean][] = [
    ['everything else', denyGate, 'base', false],
    ['the same folder', sameFolderGate, 'base', true],
    ['the same folder by another way', sameFolderGate, '../d/base', true],
    ['another folder', sameFolderGate, '../e/base', false],
    ['a link to another folder', sameFolderGate, 'link', false],
    ['another folder in JSON', sameFolderGate, 'json:{"driver":"raw","file.filename":"/e/base"}', false],
    ['a node of the graph', sameFolderGate, 'json:{"driver":"raw","file":"secret"}', false],
    ['a file that is not there', sameFolderGate, '/e/none', false],
  ];
  for (const [what, gate, reference, allowed] of cases) {
    it(`${allowed ? 'lets through' : 'closes'} ${what}`, async () => {
      const { graph, host, image } = bench(gate);
      image('/d/top', reference);
      for (const path of ['/d/base', '/e/base']) host.writeFile(path, new Uint8Array(512));
      host.symlink('/d/link', '/e/base');
      await openNode(graph, '/e/base', { nodeName: 'secret', readOnly: true });
      const opening = openNode(graph, '/d/top', { readOnly: true });
      if (allowed) expect(chainOf(await opening)).to.have.lengthOf(2);
      else expect((await failureOf(opening)).code).to.equal('permission');
    });
  }

  it('is not asked for what the caller names', async () => {
    const { graph, image } = bench(denyGate);
    image('/d/top', 'base');
    image('/e/base');
    const options = {
      driver: 'qcow2',
      file: { driver: 'file', filename: '/d/top' },
      backing: { driver: 'qcow2', file: { driver: 'file', filename: '/e/base' } },
    } as const;
    expect(chainOf(await openNode(graph, options))).to.have.lengthOf(2);
  });
});
