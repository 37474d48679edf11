// An external data file that is longer than the disk, or that lies in a device: what it has there never becomes the disk's.

import { expect } from 'chai';
import { createImage } from '../../../src/block/create.js';
import { Graph } from '../../../src/block/graph.js';
import { openNode } from '../../../src/block/open.js';
import type { PreallocMode } from '../../../src/schema/generated/types.js';
import { createAt, makeFixture, PATH } from './bench.js';

const DATA = '/data';
const MIB = 1 << 20;
const old = Buffer.alloc(4 * MIB, 0x5a);
const file = { driver: 'file' as const, filename: DATA };
/** A node that keeps its size, as one of a device does. */
const device = { driver: 'raw' as const, offset: 0, size: old.length, file };

const imageOn = (dataFile: typeof file | typeof device) => ({
  driver: 'qcow2' as const,
  file: { driver: 'file' as const, filename: PATH },
  'data-file': dataFile,
});

for (const [name, dataFile] of [
  ['file', file],
  ['device', device],
] as const) {
  for (const isRaw of [false, true]) {
    const modes: PreallocMode[] = ['off', 'metadata', 'falloc', 'full'];
    for (const preallocation of modes) {
      it(`qcow2: a disk in a longer ${name}${isRaw ? ', raw,' : ''} grows by zeroes: ${preallocation}`, async () => {
        const fixture = makeFixture();
        await createAt(fixture, { size: MIB, 'cluster-size': 4096, 'data-file': file, 'data-file-raw': isRaw });
        fixture.host.writeFile(DATA, old);
        const node = await openNode(fixture.graph, imageOn(dataFile));
        await node.truncate(2 * MIB, { preallocation });
        const content = new Uint8Array(MIB);
        await node.read(MIB, content);
        await fixture.graph.closeAll();
        expect(content.every((byte) => byte === 0)).to.equal(true);
        const rest = fixture.host.readFile(DATA).subarray(2 * MIB);
        expect(
          rest.every((byte) => byte === 0x5a),
          'what is not the disk',
        ).to.equal(true);
      });
    }
  }
}

for (const preallocation of ['falloc', 'full'] as const) {
  it(`qcow2: a disk grows within the last cluster of its data file: ${preallocation}`, async () => {
    const fixture = makeFixture();
    const made = {
      'cluster-size': 2 * MIB,
      'data-file': file,
      'data-file-raw': true,
      preallocation: 'metadata',
    } as const;
    await createAt(fixture, { size: MIB, ...made });
    const node = await openNode(fixture.graph, imageOn(file));
    await node.truncate(MIB + 512, { preallocation });
    await fixture.graph.closeAll();
    expect(fixture.host.fileSize(DATA)).to.equal(MIB + 512);
  });
}

for (const options of [{ preallocation: 'metadata' }, { 'data-file-raw': true }] as const) {
  it(`qcow2: a disk that is made in a device is zero: ${Object.keys(options)[0]}`, async () => {
    const fixture = makeFixture();
    fixture.host.writeFile(DATA, old);
    await createImage(fixture.graph, PATH, { driver: 'qcow2', size: MIB, 'data-file': device, ...options });
    await fixture.graph.closeAll();
    fixture.graph = new Graph(fixture.host);
    const node = await openNode(fixture.graph, imageOn(device));
    const content = new Uint8Array(MIB);
    await node.read(0, content);
    expect(content.every((byte) => byte === 0)).to.equal(true);
  });
}
