// VMDK images whose descriptor is a file of its own: which extents are opened, which are refused, and by what name.

import { expect } from 'chai';
import { createImage } from '../../../src/block/create.js';
import { findingText } from '../../../src/block/finding-text.js';
import { denyGate } from '../../../src/block/gate.js';
import { openNode } from '../../../src/block/open.js';
import { checkImage } from '../../../src/workspace/check.js';
import { type Bench, failureOf, makeBench, readNode, used } from '../support.js';

const MIB = 1 << 20;

function describeDisk(bench: Bench, type: string, ...lines: string[]): void {
  const text = `# Disk DescriptorFile\nversion=1\nCID=1234abc\nparentCID=ffffffff\ncreateType="${type}"\n\n${lines.join('\n')}\n`;
  bench.host.writeFile('/disk.vmdk', Buffer.from(text));
}

async function contentOf(bench: Bench, length: number): Promise<Buffer> {
  const node = await openNode(bench.graph, '/disk.vmdk', { readOnly: true });
  const content = Buffer.alloc(length);
  await readNode(node, 0, content);
  expect(node.length).to.equal(length);
  await bench.graph.closeAll();
  return content;
}

describe('extents of VMDK', () => {
  let bench: Bench;

  beforeEach(() => {
    bench = makeBench();
    bench.host.writeFile('/a', Buffer.alloc(2 * MIB, 1).fill(2, MIB));
  });

  it('follow one another, from their offsets, zeroes among them, also beyond the end of a file', async () => {
    describeDisk(
      bench,
      'monolithicFlat',
      'RW 2048 FLAT "a" 2048',
      'RW 2048 ZERO',
      'RW 2048 FLAT "a" 0',
      'RW 4 FLAT "a" 4095',
    );
    const content = await contentOf(bench, 3 * MIB + 2048);
    const expected = Buffer.concat([
      Buffer.alloc(MIB, 2),
      Buffer.alloc(MIB),
      Buffer.alloc(MIB, 1),
      Buffer.alloc(512, 2),
      Buffer.alloc(1536),
    ]);
    expect(content.equals(expected)).to.equal(true);
  });

  it('are sparse and flat in one disk, and written across', async () => {
    await createImage(bench.graph, '/s.vmdk', { driver: 'vmdk', size: MIB });
    describeDisk(bench, 'twoGbMaxExtentSparse', 'RW 2048 SPARSE "s.vmdk"', 'RW 2048 FLAT "a" 0');
    const node = await used(openNode(bench.graph, '/disk.vmdk'));
    await node.write(MIB - 1024, Buffer.alloc(2048, 9));
    await bench.graph.closeAll();
    const content = await contentOf(bench, 2 * MIB);
    expect(content.subarray(MIB - 1024, MIB + 1024).equals(Buffer.alloc(2048, 9))).to.equal(true);
    expect([content[MIB - 1025], content[MIB + 1024]]).to.deep.equal([0, 1]);
  });

  it('are read again where another program changes one before its lock is there', async () => {
    let reads = Number.NaN;
    const racing = makeBench({
      onRequest: ({ operation, path, offset }) => {
        if (operation !== 'read' || path !== '/s.vmdk' || offset !== 0) return;
        // Each look has two reads there, and the second look is the one under the lock.
        if (++reads === 3) racing.host.writeFile('/s.vmdk', racing.host.readFile('/other.vmdk'));
      },
    });
    for (const [path, size, byte] of [
      ['/s.vmdk', MIB, 1],
      ['/other.vmdk', 3000 * MIB, 2],
    ] as const) {
      await createImage(racing.graph, path, { driver: 'vmdk', size });
      const node = await used(openNode(racing.graph, path));
      await node.write(0, Buffer.alloc(MIB, byte));
      await racing.graph.closeAll();
    }
    describeDisk(racing, 'twoGbMaxExtentSparse', 'RW 2048 SPARSE "s.vmdk"');
    reads = 0;
    const node = await used(openNode(racing.graph, '/disk.vmdk'));
    expect(reads).to.equal(8);
    const content = Buffer.alloc(MIB);
    await readNode(node, 0, content);
    expect(content.equals(Buffer.alloc(MIB, 2))).to.equal(true);
    await racing.graph.closeAll();
  });

  it('may have spaces before their lines', async () => {
    describeDisk(bench, 'monolithicFlat', '  RW 2048 FLAT "a" 2048', '\tRW 2048 FLAT "a" 0');
    const expected = Buffer.concat([Buffer.alloc(MIB, 2), Buffer.alloc(MIB, 1)]);
    expect((await contentOf(bench, 2 * MIB)).equals(expected)).to.equal(true);
  });

  it('are opened through the gate', async () => {
    const denied = makeBench({}, { gate: denyGate });
    denied.host.writeFile('/a', Buffer.alloc(MIB));
    describeDisk(denied, 'monolithicFlat', 'RW 2048 FLAT "a" 0');
    const error = await failureOf(openNode(denied.graph, '/disk.vmdk', { readOnly: true }));
    expect(error.code).to.equal('permission');
  });

  it('have names that are paths, whatever these begin with', async () => {
    bench.host.writeFile('/nbd:host:1', Buffer.alloc(MIB, 7));
    describeDisk(bench, 'monolithicFlat', 'RW 2048 FLAT "nbd:host:1" 0');
    expect((await contentOf(bench, MIB)).equals(Buffer.alloc(MIB, 7))).to.equal(true);
    describeDisk(bench, 'monolithicFlat', 'RW 2048 FLAT "nbd://host/x" 0');
    expect((await failureOf(openNode(bench.graph, '/disk.vmdk'))).code).to.equal('not-found');
  });

  it('may be given by the options, as other nodes', async () => {
    describeDisk(bench, 'monolithicFlat', 'RW 2048 FLAT "nothing" 0');
    const file = { driver: 'file', filename: '/disk.vmdk' };
    const error = await failureOf(openNode(bench.graph, { driver: 'vmdk', file } as never, { readOnly: true }));
    expect(error.code).to.equal('not-found');
    expect(error.message).to.contain('extents.0');
  });

  const refused: [what: string, type: string, line: string, code: string, words: string][] = [
    ['of a kind that is not known', 'monolithicFlat', 'RW 2048 BOGUS "a" 0', 'invalid-image', 'Invalid extent line'],
    ['that is flat and has no offset', 'monolithicFlat', 'RW 2048 FLAT "a"', 'invalid-image', 'Invalid extent line'],
    ['of VMFS that has an offset', 'vmfs', 'RW 2048 VMFS "a" 5', 'invalid-image', 'Invalid extent line'],
    ['whose length is no number', 'monolithicFlat', 'RW -2048 FLAT "a" 0', 'invalid-image', 'Invalid extent line'],
    ['whose kind is in small letters', 'monolithicFlat', 'RW 2048 flat "a" 0', 'invalid-image', 'Invalid extent line'],
    ['of which there is the access alone', 'monolithicFlat', 'RW FLAT "a" 0', 'invalid-image', 'Invalid extent line'],
    ['without a length', 'monolithicFlat', 'RW 0 FLAT "a" 0', 'invalid-image', 'Invalid extent line'],
    ['that may only be read', 'monolithicFlat', 'RDONLY 2048 FLAT "a" 0', 'unsupported', 'Unsupported extent access'],
    ['that is not sparse', 'twoGbMaxExtentSparse', 'RW 2048 SPARSE "a"', 'invalid-image', 'Image not in VMDK format'],
    ['that is the descriptor', 'monolithicFlat', 'RW 1 FLAT "disk.vmdk" 0', 'invalid-image', 'is used twice'],
    [
      'of a type of image without any',
      'custom',
      'RW 2048 FLAT "a" 0',
      'unsupported',
      "Unsupported image type 'custom'",
    ],
    ['that is not seSparse', 'seSparse', 'RW 2048 SESPARSE "a"', 'invalid-image', 'Bad const header magic'],
    ['of which there are none', 'monolithicFlat', '', 'invalid-image', 'names no extents'],
    ['that is too large', 'monolithicFlat', 'RW 99999999999999 FLAT "a" 0', 'unsupported', 'too large'],
  ];
  for (const [what, type, line, code, words] of refused) {
    it(`are refused: one ${what}`, async () => {
      describeDisk(bench, type, line);
      const error = await failureOf(openNode(bench.graph, '/disk.vmdk', { format: 'vmdk', readOnly: true }));
      expect(error.code).to.equal(code);
      expect(error.message).to.contain(words);
    });
  }

  it('stay apart: a sparse one that is named twice is refused', async () => {
    await createImage(bench.graph, '/s.vmdk', { driver: 'vmdk', size: MIB });
    const line = 'RW 2048 SPARSE "s.vmdk"';
    describeDisk(bench, 'twoGbMaxExtentSparse', line, line);
    const error = await failureOf(openNode(bench.graph, '/disk.vmdk', { readOnly: true }));
    expect([error.code, error.reason]).to.deep.equal(['invalid-image', "The extent 's.vmdk' is used twice"]);
  });

  it('keep the descriptor as it is, but for the digits of its content ID', async () => {
    describeDisk(bench, 'monolithicFlat', 'RW 2048 FLAT "a" 0');
    const before = Buffer.from(bench.host.readFile('/disk.vmdk')).toString();
    const node = await used(openNode(bench.graph, '/disk.vmdk'));
    await node.write(0, Buffer.alloc(512, 3));
    await bench.graph.closeAll();
    const after = Buffer.from(bench.host.readFile('/disk.vmdk')).toString();
    // The file is filled up to a sector, as by QEMU.
    const withoutId = (text: string): string => text.replace(/^CID=[0-9a-f]{7}$/m, 'CID').replaceAll('\0', '');
    expect(after).not.to.equal(before);
    expect(withoutId(after)).to.equal(withoutId(before));
  });

  it('that are sparse are checked: grains are named by their sector on the disk, as by qemu-img, and tables by the extent', async () => {
    const grain = 65536;
    const size = 1024 * grain;
    for (const name of ['/x.vmdk', '/y.vmdk']) await createImage(bench.graph, name, { driver: 'vmdk', size });
    const lines = ['x', 'y'].map((name) => `RW ${size / 512} SPARSE "${name}.vmdk"`);
    describeDisk(bench, 'twoGbMaxExtentSparse', ...lines);
    const node = await used(openNode(bench.graph, '/disk.vmdk'));
    // Of each extent the second grain, and one of the second table.
    for (const start of [0, size]) {
      await node.write(start + grain, Buffer.alloc(512, 1));
      await node.write(start + 513 * grain, Buffer.alloc(512, 1));
    }
    await bench.graph.closeAll();
    for (const name of ['/x.vmdk', '/y.vmdk']) {
      const image = Buffer.from(bench.host.readFile(name));
      const directory = image.readUInt32LE(56) * 512;
      image.writeUInt32LE(0xf_ffff, image.readUInt32LE(directory) * 512 + 4);
      image.writeUInt32LE(0xf_ffff, directory + 4);
      bench.host.writeFile(name, image);
    }
    const texts: string[] = [];
    await checkImage(bench.graph, '/disk.vmdk', {}, (finding) => texts.push(findingText(finding)));
    expect(texts).to.deep.equal(
      [
        ['/x.vmdk', 128],
        ['/y.vmdk', size / 512 + 128],
      ].flatMap(([name, sector]) => [
        `ERROR: cluster offset for sector ${sector} points after EOF`,
        `ERROR: grain table 0 of the extent '${name}' and its copy differ`,
        `ERROR: grain table 1 of the extent '${name}' lies outside of the file, or over other metadata`,
      ]),
    );
    await bench.graph.closeAll();
  });
});
