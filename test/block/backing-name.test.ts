// Names of backing files: whatever the files are called, what is written into a header is found again from there, by us and by qemu-img.

import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { backingFormatFor, backingNameFor } from '../../src/block/backing-name.js';
import { createImage } from '../../src/block/create.js';
import { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { openRealHost, type RealHost } from '../../src/host/real/index.js';

registerDrivers();

const LONG = `${'d'.repeat(250)}/${'e'.repeat(250)}/${'f'.repeat(250)}`;

/** How the base is opened, how the overlay is, and what is written; files are made, and folders for them. */
const TABLE: readonly (readonly [base: string, overlay: string, written: string])[] = [
  ['base', 'top', 'base'],
  ['./base', 'top', 'base'],
  ['./b:1', './m:2', './b:1'],
  ['./nbd:x', 'top', './nbd:x'],
  ['./file:x', 'top', './file:x'],
  ['./json:{', 'top', './json:{'],
  ['file:b:1', 'top', './b:1'],
  ['file:base', 'file:top', 'base'],
  ['a b', 'top', 'a b'],
  ['a,b=c', 'top', 'a,b=c'],
  ['line\nfeed', 'top', 'line\nfeed'],
  ['-dash', '-f', '-dash'],
  ['--', 'top', '--'],
  ['ünï→😀', 'top', 'ünï→😀'],
  ['raw\udcff', 'top', 'raw\udcff'],
  ['dir/base', 'dir/top', 'base'],
  ['dir/b:1', 'dir/top', './b:1'],
  ['dir/base', 'top', 'dir/base'],
  ['base', 'dir/top', '../base'],
  ['one/b:1', 'two/top', '../one/b:1'],
  ['ABS/base', 'top', 'ABS/base'],
  ['ABS/b:1', 'dir/top', 'ABS/b:1'],
  // A way through a link leads elsewhere: the folder's own place counts, too.
  ['base', 'link/top', '../../base'],
  ['link/base', 'link/top', 'base'],
  ['link/base', 'top', 'link/base'],
  [`${LONG}/${'g'.repeat(200)}`, 'top', `${LONG}/${'g'.repeat(200)}`],
];

describe('names of backing files', function () {
  this.timeout(60_000);
  let folder: string;
  let host: RealHost;
  const before_ = process.cwd();

  before(() => {
    host = openRealHost();
  });
  after(() => host.close());
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'diskwright-names-'));
    for (const made of ['dir', 'one', 'two', 'deep/er', LONG]) mkdirSync(join(folder, made), { recursive: true });
    symlinkSync('deep/er', join(folder, 'link'));
    process.chdir(folder);
  });
  afterEach(() => {
    process.chdir(before_);
    rmSync(folder, { recursive: true });
  });

  for (const [baseName, overlayName, written] of TABLE) {
    const shorter = (name: string): string => (name.length > 60 ? `${name.slice(0, 60)}...` : name);
    it(`${JSON.stringify(shorter(baseName))} below ${JSON.stringify(overlayName)} is found again`, async () => {
      const placed = (name: string): string => name.replace('ABS', folder);
      const graph = new Graph(host);
      const file = placed(baseName).replace(/^file:/, './');
      await createImage(graph, `file:${file}`, { driver: 'qcow2', size: 1 << 20 });
      const base = await openNode(graph, placed(baseName), { format: 'qcow2', readOnly: true });
      const name = await backingNameFor(overlayName, base);
      expect(name).to.equal(placed(written));
      const wanted = await base.hostFile()!.info();
      await createImage(graph, overlayName, {
        driver: 'qcow2',
        size: 1 << 20,
        'backing-file': name,
        'backing-fmt': 'qcow2',
      });
      await graph.closeAll();
      const again = new Graph(host);
      const top = await openNode(again, overlayName, { readOnly: true });
      expect((await top.children.get('backing')!.node.hostFile()!.info()).id).to.equal(wanted.id);
      await again.closeAll();
      // By its real path, and by the real tool.
      const path = await host.realPath(overlayName.replace(/^file:/, ''));
      execFileSync('qemu-img', ['map', path], { cwd: '/' });
    });
  }

  it('through JSON have absolute paths, with the options that change the content', async () => {
    const graph = new Graph(host);
    await createImage(graph, 'base', { driver: 'raw', size: 1 << 20 });
    const base = await openNode(
      graph,
      { driver: 'raw', offset: 4096, size: 65536, file: { driver: 'file', filename: 'base' } },
      { readOnly: true },
    );
    const name = await backingNameFor('dir/top', base);
    expect(name)
      .to.match(/^json:/)
      .and.include(`${folder}/base`)
      .and.include('4096');
    await createImage(graph, 'dir/top', { driver: 'qcow2', size: 65536, 'backing-file': name, 'backing-fmt': 'raw' });
    await graph.closeAll();
    expect(execFileSync('qemu-img', ['map', `${folder}/dir/top`], { cwd: '/', encoding: 'utf8' })).to.include('Offset');
  });

  it('are those of the image below a filter, with its format', async () => {
    const graph = new Graph(host);
    await createImage(graph, 'base', { driver: 'qcow2', size: 1 << 20 });
    await graph.objects.add('throttle-group,id=group');
    const base = await openNode(graph, 'base', { readOnly: true, nodeName: 'base' });
    const words = { driver: 'throttle', 'throttle-group': 'group', file: 'base' } as const;
    const filter = await openNode(graph, words, { readOnly: true });
    expect(await backingNameFor('top', filter)).to.equal('base');
    expect([backingFormatFor(filter), backingFormatFor(base)]).to.deep.equal(['qcow2', 'qcow2']);
    await graph.closeAll();
  });

  it('of a format within a format go through JSON: a name alone would be read as the inner one by the outer', async () => {
    const graph = new Graph(host);
    await createImage(graph, 'base', { driver: 'qcow2', size: 1 << 20 });
    await openNode(graph, 'base', { readOnly: true, nodeName: 'base' });
    const outer = await openNode(graph, { driver: 'raw', file: 'base' }, { readOnly: true });
    const name = await backingNameFor('top', outer);
    expect(name).to.match(/^json:/);
    const asked = await backingNameFor('top', outer, { asked: 'base' }).catch((error: Error) => error.message);
    expect(asked).to.include("The backing file name 'base' would not lead to");
    await createImage(graph, 'top', { driver: 'qcow2', size: 1 << 20, 'backing-file': name, 'backing-fmt': 'raw' });
    await graph.closeAll();
    const info = execFileSync('qemu-img', ['info', '--backing-chain', 'top'], { encoding: 'utf8' });
    expect(info.match(/virtual size: 1 MiB/g)).to.have.length(2);
  });

  it('are refused where they are too long, or lead elsewhere', async () => {
    const graph = new Graph(host);
    const deep = `${LONG}/${'h'.repeat(250)}/${'i'.repeat(50)}`;
    mkdirSync(deep, { recursive: true });
    await createImage(graph, `${deep}/long`, { driver: 'qcow2', size: 1 << 20 });
    await createImage(graph, 'other', { driver: 'qcow2', size: 1 << 20 });
    const base = await openNode(graph, `${deep}/long`, { readOnly: true });
    const refusal = async (asked?: string): Promise<string> =>
      backingNameFor('top', base, { asked }).then(
        (name) => name,
        (error: Error) => error.message,
      );
    expect(await refusal()).to.include('Backing file name too long');
    expect(await refusal('other')).to.include("The backing file name 'other' would not lead to");
    expect(await refusal('gone')).to.include('would not lead to');
    expect(await refusal('odd:name')).to.include('would not lead to');
    linkSync(`${deep}/long`, 'short');
    expect(await refusal('short')).to.equal('short');
    await graph.closeAll();
  });

  it('of an image itself are refused, and leave it as it is', async () => {
    const graph = new Graph(host);
    await createImage(graph, 'self', { driver: 'qcow2', size: 1 << 20 });
    symlinkSync('self', 'alias');
    const refusal = await createImage(graph, 'alias', {
      driver: 'qcow2',
      size: 1 << 19,
      'backing-file': './self',
      'backing-fmt': 'qcow2',
    }).then(
      () => '',
      (error: Error) => error.message,
    );
    expect(refusal).to.include('the same filename as the backing file');
    const node = await openNode(graph, 'self', { readOnly: true });
    expect(node.length).to.equal(1 << 20);
    await graph.closeAll();
  });
});
