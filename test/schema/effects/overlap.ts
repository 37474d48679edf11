// What each kind of overlap check keeps from being overwritten: an L2 entry leads to that metadata, and a guest writes.

import { expect } from 'chai';
import type { Bench } from '../../drivers/support.js';
import { another, createdQcow2, type Effects, opened, outcome, PATH, qcow2, withFile } from './kit.js';

const CLUSTER = 4096;
/** How the error names what would be overwritten. */
const NAMES: Readonly<Record<string, string>> = {
  'main-header': 'qcow2_header',
  'active-l1': 'active L1 table',
  'active-l2': 'active L2 table',
  'refcount-table': 'refcount table',
  'refcount-block': 'refcount block',
};

function at64({ host }: Bench, offset: number): number {
  const view = new DataView(host.readFile(PATH, offset, 8).slice().buffer);
  return Number(view.getBigUint64(0) & 0x00ff_ffff_ffff_ff00n);
}

/** Where metadata of this kind lies. */
function placeOf(bench: Bench, kind: string): number {
  const [l1, refcounts] = [at64(bench, 40), at64(bench, 48)];
  if (kind === 'active-l1') return l1;
  if (kind === 'active-l2') return at64(bench, l1);
  return kind === 'refcount-table' ? refcounts : at64(bench, refcounts);
}

/** Writes to a guest's cluster whose entry leads to metadata of this kind: what is said of it. */
async function written(kind: string, check: unknown): Promise<string> {
  const made = withFile();
  await createdQcow2(made, { 'cluster-size': CLUSTER });
  const first = await opened(made, qcow2());
  await first.write(0, new Uint8Array(4 * CLUSTER).fill(1));
  await made.graph.closeAll();
  const bench = another(made);
  if (kind === 'main-header') {
    // No entry leads there, since zero is none: its cluster is said to be free.
    bench.host.patchFile(PATH, placeOf(bench, 'refcount-block'), new Uint8Array(2));
  } else {
    const entry = new DataView(new ArrayBuffer(8));
    entry.setBigUint64(0, (1n << 63n) | BigInt(placeOf(bench, kind)));
    bench.host.patchFile(PATH, placeOf(bench, 'active-l2'), new Uint8Array(entry.buffer));
  }
  const node = await opened(bench, qcow2({ 'overlap-check': check }));
  return outcome(node.write(kind === 'main-header' ? 8 * CLUSTER : 512, new Uint8Array(512).fill(2)));
}

/** Caught where the kind alone is checked, or all but others; not caught where all but this kind are. */
function checked(kind: string): Effects[string] {
  const words = `Preventing invalid write on metadata (overlaps with ${NAMES[kind] ?? kind})`;
  return [
    'keeps data from being written there',
    async () => {
      expect(await written(kind, { template: 'none', [kind]: true })).to.include(words);
      expect(await written(kind, 'cached')).to.include(words);
      expect(await written(kind, { [kind]: false })).to.not.include('Preventing');
      expect(await written(kind, 'none')).to.not.include('Preventing');
    },
  ];
}

/** Of images that have none of this metadata, the check refuses nothing. */
function absent(kind: string): Effects[string] {
  return [
    'keeps no data from being written where there is no such metadata',
    async () => {
      const made = withFile();
      await createdQcow2(made, { 'cluster-size': CLUSTER });
      const node = await opened(made, qcow2({ 'overlap-check': { template: 'none', [kind]: true } }));
      expect(await outcome(node.write(0, new Uint8Array(512)))).to.equal('');
    },
  ];
}

export const overlap: Effects = {
  ...Object.fromEntries(
    ['main-header', 'active-l1', 'active-l2', 'refcount-table', 'refcount-block'].map((kind) => [
      `Qcow2OverlapCheckFlags.${kind}`,
      checked(kind),
    ]),
  ),
  ...Object.fromEntries(
    ['snapshot-table', 'inactive-l1', 'inactive-l2', 'bitmap-directory'].map((kind) => [
      `Qcow2OverlapCheckFlags.${kind}`,
      absent(kind),
    ]),
  ),
  'BlockdevOptionsQcow2.overlap-check': [
    'is a set of kinds by its name',
    async () => {
      expect(await written('active-l2', 'constant')).to.equal('');
      expect(await written('active-l1', 'constant')).to.include('Preventing');
      expect(await written('active-l2', 'all')).to.include('Preventing');
    },
  ],
  'Qcow2OverlapCheckFlags.template': [
    'is what holds for the kinds that are not named',
    async () => {
      expect(await written('active-l2', { template: 'constant' })).to.equal('');
      expect(await written('active-l2', { template: 'cached' })).to.include('Preventing');
      expect(await written('active-l2', { template: 'all' })).to.include('Preventing');
    },
  ],
};
