// Deltas of refcounts against a model that knows one number for each cluster: long runs that are alike, which are changed at once, beside mixed ones.
import { expect } from 'chai';
import type { Qcow2Image } from '../../../src/drivers/formats/qcow2/image.js';
import { getRefcount, setRefcount } from '../../../src/drivers/formats/qcow2/refcount-codec.js';
import { RefcountDeltas } from '../../../src/drivers/formats/qcow2/refcount-deltas.js';
import { type ClusterIndex, makeGeometry } from '../../../src/drivers/formats/qcow2/types.js';
import { createSimHost, Random } from '../../../src/host/sim/index.js';
import { BlockError } from '../../../src/util/errors.js';

const BLOCKS = 3;

describe('qcow2: deltas of refcounts', () => {
  for (const order of [0, 1, 2, 3, 4, 5, 6]) {
    it(`settle as one by one (${2 ** order} bits)`, () => {
      const random = new Random(20261128 + order);
      const geometry = makeGeometry(3, 13, order);
      const { blockEntries, clusterSize, refcountMax } = geometry;
      const count = BLOCKS * blockEntries;
      const image = {
        geometry,
        memory: createSimHost({ seed: 1 }).memory,
        error: (code: 'limit', message: string) => new BlockError(code, message),
      } as unknown as Qcow2Image;
      const blocks = Array.from({ length: BLOCKS }, () => new DataView(new ArrayBuffer(clusterSize)));
      const model: number[] = [];
      const changes = new Array<number>(count).fill(0);
      const deltas = new RefcountDeltas(image);
      const top = Math.min(refcountMax, 3);
      for (let at = 0; at < count; ) {
        const run = Math.min(count - at, random.between(1, random.chance(0.5) ? 3 : 2000));
        const value = random.between(1, top);
        const change = random.between(-value, top - value);
        for (let i = 0; i < run; i++) {
          setRefcount(blocks[Math.floor((at + i) / blockEntries)], order, (at + i) % blockEntries, value);
          model.push(value);
          changes[at + i] = change;
        }
        deltas.add(at as ClusterIndex, run, change);
        at += run;
      }
      const freed: number[] = [];
      for (const index of deltas.blocks()) deltas.settle(index, blocks[index], (cluster) => freed.push(cluster));
      const after = model.map((value, i) => value + changes[i]);
      const found = after.map((_, i) => getRefcount(blocks[Math.floor(i / blockEntries)], order, i % blockEntries));
      expect(found).to.deep.equal(after);
      expect(freed).to.deep.equal([...after.keys()].filter((i) => after[i] === 0));
      const flags: boolean[] = [];
      deltas.visitCopied(0 as ClusterIndex, count, true, (cluster, length, copied) => {
        expect(cluster).to.equal(flags.length);
        for (let i = 0; i < length; i++) flags.push(copied);
      });
      expect(flags).to.deep.equal(after.map((value, i) => changes[i] === 0 || value === 1));
    });
  }
});
