// Each field of a qcow2 header with values at its edges, beside qemu-img: what `info` of qemu-img refuses we refuse, in its words.

import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import { BlockError } from '../../src/util/errors.js';
import { requirePeer } from '../support/peers.js';
import { qemuImg, useBench } from './support.js';

/** Offset and width of each field, and values in it. */
const FIELDS: [string, number, number, bigint[]][] = [
  ['version', 4, 4, [0n, 4n]],
  ['backing file offset', 8, 8, [511n, 65_537n, 1n << 62n]],
  ['backing file size', 16, 4, [1024n]],
  ['cluster bits', 20, 4, [0n, 8n, 22n, 31n]],
  ['size', 24, 8, [1n << 40n, (1n << 53n) - 512n]],
  ['encryption', 32, 4, [3n]],
  ['L1 size', 36, 4, [0n, (1n << 22n) + 1n]],
  ['L1 offset', 40, 8, [512n, 65_537n]],
  ['refcount table offset', 48, 8, [0n, 512n]],
  ['refcount table clusters', 56, 4, [0n, 129n]],
  ['snapshots', 60, 4, [65_537n, 0xffff_ffffn]],
  ['snapshot table offset', 64, 8, [1n, 512n, 65_537n]],
  ['incompatible features', 72, 8, [1n << 5n, 1n << 63n, 8n]],
  ['refcount order', 96, 4, [7n, 0xffff_ffffn]],
  ['header length', 100, 4, [0n, 72n, 96n, 65_544n]],
  ['compression type', 104, 1, [1n, 2n]],
  ['length of an extension', 116, 4, [65_536n, 0xffff_ffffn]],
];
/** Fields that version 2 does not have. */
const VERSION_3 = 72;

describe('qcow2 header fields beside qemu-img', function () {
  this.timeout(60_000);
  const bench = useBench('header-fields');
  before(function () {
    requirePeer(this, 'qemu-img');
  });

  for (const compat of ['1.1', '0.10']) {
    it(`are refused as by qemu-img (compat=${compat})`, async () => {
      const path = join(bench.folder, 'x.qcow2');
      qemuImg('create', '-q', '-f', 'qcow2', '-o', `compat=${compat}`, path, '4M');
      const image = readFileSync(path);
      let refused = 0;
      for (const [field, at, width, values] of FIELDS) {
        if (compat === '0.10' && at >= VERSION_3) continue;
        for (const value of values) {
          const bytes = Buffer.from(image);
          Buffer.from(value.toString(16).padStart(2 * width, '0'), 'hex').copy(bytes, at);
          writeFileSync(path, bytes);
          const { stderr } = spawnSync('qemu-img', ['info', '-f', 'qcow2', path], { encoding: 'utf8' });
          const theirs = /Could not open '[^']*': (.*)/.exec(stderr)?.[1] ?? null;
          const ours = await refusal(path);
          if (theirs === null) continue;
          refused++;
          expect(ours, `${field} ${value}`).to.contain(theirs.replace(/^qcow2: /, ''));
        }
      }
      expect(refused).to.be.above(15);
    });
  }

  async function refusal(path: string): Promise<string> {
    const graph = new Graph(bench.host, { warn: () => undefined });
    try {
      await openNode(graph, path, { format: 'qcow2', readOnly: true, backing: false });
      return 'opened';
    } catch (error) {
      if (!(error instanceof BlockError)) throw error;
      return error.message;
    } finally {
      await graph.closeAll();
    }
  }
});
