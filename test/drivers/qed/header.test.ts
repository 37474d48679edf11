// The header of a QED image: what is refused, sizes, and the backing file's name.

import { expect } from 'chai';
import { describe, it } from 'mocha';
import { createImage } from '../../../src/block/create.js';
import { needFormat } from '../../../src/block/node/format.js';
import { failureOf } from '../support.js';
import { CLUSTER, firstBytes, IMAGE, L1, makeQed, numberAt, openQed, patch } from './support.js';

describe('the header of a QED image', () => {
  const REFUSED: readonly (readonly [offset: number, value: number, reason: string])[] = [
    [0, 0, 'Image not in QED format'],
    [16, 8, 'Unsupported QED features: 8'],
    [40, CLUSTER + 512, 'QED table offset is invalid'],
    [40, 2 ** 40, 'QED table offset is invalid'],
    [48, 1000, 'QED image size is invalid'],
    [48, 2 ** 30 + 512, 'QED image size is invalid'],
  ];
  for (const [offset, value, reason] of REFUSED) {
    it(`is refused with ${value} at ${offset}`, async () => {
      const bench = await makeQed(4, []);
      patch(bench, { [offset]: value });
      expect((await failureOf(openQed(bench))).reason).to.equal(reason);
      await bench.graph.closeAll();
    });
  }

  it('loses the autoclear features when it is opened for writing, and keeps the compatible ones', async () => {
    const bench = await makeQed(4, []);
    patch(bench, { 24: 5, 32: 6 });
    await openQed(bench);
    await bench.graph.closeAll();
    expect([numberAt(bench, 24), numberAt(bench, 32)]).to.deep.equal([5, 0]);
  });

  it('says the new size; what another program has left beyond the old one reads as zeroes', async () => {
    const bench = await makeQed(4, [0, 1, 2, 3]);
    patch(bench, { 48: 2 * CLUSTER + 512 });
    const node = await openQed(bench);
    expect((await failureOf(node.truncate(CLUSTER))).code).to.equal('unsupported');
    expect((await failureOf(node.truncate(2 ** 30 + 512))).code).to.equal('invalid-argument');
    await node.truncate(4 * CLUSTER);
    const content = new Uint8Array(2 * CLUSTER);
    await node.read(2 * CLUSTER, content);
    expect([content[511], Math.max(...content.subarray(512))]).to.deep.equal([3, 0]);
    await bench.graph.closeAll();
    expect(numberAt(bench, 48)).to.equal(4 * CLUSTER);
  });

  it('does not grow before a backing file that is longer', async () => {
    const bench = await makeQed(4, []);
    await createImage(bench.graph, '/base', { driver: 'raw', size: 8 * CLUSTER });
    await createImage(bench.graph, IMAGE, {
      driver: 'qed',
      size: 4 * CLUSTER,
      'backing-file': '/base',
      'backing-fmt': 'raw',
    });
    const node = await openQed(bench);
    const error = await failureOf(node.truncate(5 * CLUSTER));
    expect([error.code, error.reason]).to.deep.equal(['unsupported', 'Block driver does not support requested flags']);
    await bench.graph.closeAll();
  });

  it('has another backing file, of which it knows whether it is raw, or none', async () => {
    const bench = await makeQed(4, []);
    const format = needFormat(await openQed(bench));
    const said = (): unknown[] => {
      const head = Buffer.from(bench.host.readFile(IMAGE, 0, CLUSTER));
      const [offset, length] = [head.readUInt32LE(56), head.readUInt32LE(60)];
      return [numberAt(bench, 16), head.toString('latin1', offset, offset + length)];
    };
    await format.changeBackingFile('below', 'raw');
    expect(said()).to.deep.equal([5, 'below']);
    await format.changeBackingFile('other', 'qcow2');
    expect(said()).to.deep.equal([1, 'other']);
    // Too long for the first sector: it goes behind the old name, which counts until then.
    const long = 'n'.repeat(1000);
    await format.changeBackingFile(long, 'raw');
    expect(said()).to.deep.equal([5, long]);
    expect(Buffer.from(bench.host.readFile(IMAGE, 64, 5)).toString()).to.equal('other');
    await format.changeBackingFile(null, null);
    expect(said()).to.deep.equal([0, '']);
    expect((await failureOf(format.changeBackingFile('n'.repeat(1024), 'raw'))).code).to.equal('invalid-argument');
    await bench.graph.closeAll();
  });

  it('and tables that point outside of the file are one clear error', async () => {
    const bench = await makeQed(4, [0]);
    const l2 = numberAt(bench, L1);
    for (const value of [CLUSTER + 512, 0x200, 2 ** 40]) {
      patch(bench, { [l2]: value });
      expect((await failureOf(firstBytes(bench, 1))).code).to.equal('corrupt-image');
      await bench.graph.closeAll();
    }
  });
});
