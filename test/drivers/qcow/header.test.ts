// The header of a qcow image, and its entries: what is refused, and in which words.

import { expect } from 'chai';
import { describe, it } from 'mocha';
import type { BlockErrorCode } from '../../../src/util/errors.js';
import { failureOf } from '../support.js';
import { be32, be64, CLUSTER, entryOf, IMAGE, L1, makeQcow, openQcow, patch } from './support.js';

describe('the header of a qcow image', () => {
  const REFUSED: readonly (readonly [offset: number, bytes: Uint8Array, code: BlockErrorCode, reason: string])[] = [
    [0, be32(0), 'invalid-image', 'Image not in qcow format'],
    [4, be32(4), 'unsupported', 'qcow (v1) does not support qcow version 4'],
    [8, be64(2 ** 40), 'invalid-image', 'The backing file name does not lie within the file'],
    [8, Buffer.concat([be64(48), be32(1024)]), 'invalid-image', 'Backing file name too long'],
    [24, be64(1), 'invalid-image', 'Image size is too small (must be at least 2 bytes)'],
    [24, be64(2 ** 49), 'limit', 'Image too large'],
    [24, be64(2n ** 64n - 1n), 'limit', 'Image too large'],
    [24, be64(2 ** 40), 'invalid-image', 'The L1 table does not lie within the file'],
    [32, Uint8Array.of(8), 'invalid-image', 'Cluster size must be between 512 and 64k'],
    [32, Uint8Array.of(17), 'invalid-image', 'Cluster size must be between 512 and 64k'],
    [33, Uint8Array.of(5), 'invalid-image', 'L2 table size must be between 512 and 64k'],
    [33, Uint8Array.of(14), 'invalid-image', 'L2 table size must be between 512 and 64k'],
    [36, be32(2), 'invalid-image', 'invalid encryption method in qcow header'],
    [40, be64(40), 'invalid-image', 'The L1 table does not lie within the file'],
    [40, be64(2 ** 40), 'invalid-image', 'The L1 table does not lie within the file'],
  ];
  for (const [offset, bytes, code, reason] of REFUSED) {
    it(`is refused with ${Buffer.from(bytes).toString('hex')} at ${offset}`, async () => {
      const bench = await makeQcow(4);
      patch(bench, offset, bytes);
      const error = await failureOf(openQcow(bench));
      expect([error.code, error.reason]).to.deep.equal([code, reason]);
      await bench.graph.closeAll();
    });
  }

  it('names qcow2 where it is one of its versions', async () => {
    const hints: (string | undefined)[] = [];
    for (const version of [0, 2, 3, 4]) {
      const bench = await makeQcow(4);
      patch(bench, 4, be32(version));
      hints.push((await failureOf(openQcow(bench))).hint);
    }
    const hint = "Try the 'qcow2' driver instead.";
    expect(hints).to.deep.equal([undefined, hint, hint, undefined]);
  });

  it('is refused where the file ends before it does', async () => {
    for (const [length, code] of [
      [0, 'invalid-image'],
      [4, 'unsupported'],
      [47, 'invalid-image'],
    ] as const) {
      const bench = await makeQcow(4);
      bench.host.writeFile(IMAGE, bench.host.readFile(IMAGE, 0, length));
      expect((await failureOf(openQcow(bench))).code, `${length} bytes`).to.equal(code);
    }
  });
});

describe('the entries of a qcow image', () => {
  const VALUES = [1, 512, 4096, 4097, 2 ** 30, 2 ** 62 + 4096];

  async function failureWith(where: 'l1' | 'l2', value: number | bigint): Promise<string> {
    // The L1 table has more than a cluster.
    const bench = await makeQcow(600 * 512);
    await (await openQcow(bench)).write(0, new Uint8Array(2 * CLUSTER).fill(1));
    await bench.graph.closeAll();
    patch(bench, where === 'l1' ? L1 : entryOf(bench, 1), be64(value));
    const { length } = bench.host.readFile(IMAGE);
    const node = await openQcow(bench);
    const errors = [
      await failureOf(node.read(CLUSTER, new Uint8Array(CLUSTER))),
      await failureOf(node.write(CLUSTER, new Uint8Array(CLUSTER))),
    ];
    await bench.graph.closeAll();
    // Nothing was written anywhere.
    expect(bench.host.readFile(IMAGE).length).to.equal(length);
    return errors.map(({ code }) => code).join(' ');
  }

  it('are corrupt where they point at the header, between clusters, or out of the file', async () => {
    for (const value of VALUES) {
      expect(await failureWith('l1', value), `L1 entry ${value}`).to.equal('corrupt-image corrupt-image');
    }
    for (const value of VALUES) {
      expect(await failureWith('l2', value), `L2 entry ${value}`).to.equal('corrupt-image corrupt-image');
    }
  });
});
