// What the options of copy-before-write do.

import { expect } from 'chai';
import { DirtyBitmap } from '../../../src/block/bitmap.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import { openNode } from '../../../src/block/open.js';
import { validate } from '../../../src/schema/validate.js';
import { makeBench } from '../../drivers/support.js';
import { type Effects, file, opened, outcome, refusedOpen, SIZE, withFile } from './kit.js';

const KEPT = { driver: 'null-co', 'node-name': 'kept', size: SIZE };
const options = (own: object = {}) => ({ driver: 'copy-before-write', file: file(), target: KEPT, ...own });

/** A filter whose target is too small, so that nothing past its end can be saved. */
const failing = (own: object) => opened(withFile(), options({ target: { ...KEPT, size: 65536 }, ...own }));
const writeAtEnd = (node: BlockNode) => outcome(node.write(SIZE - 512, new Uint8Array(512)));

export const copyBeforeWrite: Effects = {
  'BlockdevOptionsCbw.file': [
    'is what is read and written',
    async () => {
      const node = await opened(withFile(), options());
      const bytes = new Uint8Array(4);
      await node.read(0, bytes);
      expect([...bytes]).to.deep.equal([1, 1, 1, 1]);
    },
  ],
  'BlockdevOptionsCbw.target': [
    'is where old content goes: it must be writable',
    () => refusedOpen(withFile(), options({ target: { ...KEPT, 'read-only': true } }), /Block node is read-only/),
  ],
  'BlockdevOptionsCbw.bitmap': [
    'says what is kept',
    async () => {
      const bench = withFile();
      const node = await openNode(bench.graph, validate('BlockdevOptions', file({ 'node-name': 'f' })));
      node.bitmaps.set('b', new DirtyBitmap({ name: 'b', size: SIZE }));
      const own = { file: 'f', bitmap: { node: 'f', name: 'b' }, target: { ...KEPT, size: 65536 } };
      // Nothing is to be saved, so that the target may be too small for it.
      expect(await writeAtEnd(await opened(bench, options(own)))).to.equal('');
    },
  ],
  'BlockdevOptionsCbw.on-cbw-error': [
    'says whose failure it is that nothing can be saved',
    async () => {
      expect(await writeAtEnd(await failing({ 'on-cbw-error': 'break-guest-write' }))).to.match(/outside of/);
      expect(await writeAtEnd(await failing({ 'on-cbw-error': 'break-snapshot' }))).to.equal('');
    },
  ],
  'BlockdevOptionsCbw.cbw-timeout': [
    'is how long saving may take',
    async () => {
      const slow = { ...KEPT, 'latency-ns': 3_000_000_000 };
      const bench = withFile();
      const node = await opened(bench, options({ target: slow, 'cbw-timeout': 2 }));
      expect(await outcome(node.write(0, new Uint8Array(512)))).to.equal('Old content could not be saved within 2 s');
      const patient = await opened(withFile(), options({ target: slow, 'cbw-timeout': 4 }));
      expect(await outcome(patient.write(0, new Uint8Array(512)))).to.equal('');
    },
  ],
  'BlockdevOptionsGenericFormat.file': [
    'is what snapshot-access shows the moment of',
    async () => {
      const bench = withFile();
      await openNode(bench.graph, validate('BlockdevOptions', options({ 'node-name': 'c' })));
      const access = await opened(bench, { driver: 'snapshot-access', file: 'c' });
      const bytes = new Uint8Array(1);
      await access.read(0, bytes);
      expect([...bytes]).to.deep.equal([1]);
      const alone = await opened(withFile(), { driver: 'snapshot-access', file: file() });
      expect(await outcome(alone.read(0, bytes))).to.match(/does not support reading a moment/);
    },
  ],
  'BlockDirtyBitmap.node': [
    'is where the bitmap is',
    () => refusedOpen(withFile(), options({ bitmap: { node: 'nobody', name: 'b' } }), /Node 'nobody' not found/),
  ],
  'BlockDirtyBitmap.name': [
    'is what it is called there',
    async () => {
      const bench = makeBench();
      await opened(bench, { driver: 'null-co', 'node-name': 'n' });
      const own = { file: KEPT, target: { ...KEPT, 'node-name': 'other' }, bitmap: { node: 'n', name: 'b' } };
      await refusedOpen(bench, options(own), /Dirty bitmap 'b' not found/);
    },
  ],
};
