// What is freed goes back to the file system: the same requests through us and through qemu-io leave files that take the same space.

import { statSync } from 'node:fs';
import { expect } from 'chai';
import { type Image, openRealHost, Workspace } from '../../src/index.js';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Kilobytes: what is written again goes to the place that a discard freed with QEMU, and here only once the discard is flushed; and tables lie elsewhere. */
const SLACK = 1024 + 256;

type Step = ['write' | 'zero' | 'unmap' | 'discard', number, number];

const STEPS: Step[] = [
  ['write', 0, 16 * MIB],
  ['discard', 2 * MIB, 4 * MIB],
  ['zero', 8 * MIB, 2 * MIB],
  ['unmap', 12 * MIB, 2 * MIB],
  ['write', 3 * MIB, MIB],
];

const CASES: {
  title: string;
  create: string;
  options: { 'pass-discard-request'?: boolean };
  discard: 'unmap' | 'ignore';
}[] = [
  { title: 'discard=unmap', create: '', options: {}, discard: 'unmap' },
  { title: 'discard=ignore', create: '', options: {}, discard: 'ignore' },
  {
    title: 'pass-discard-request=off',
    create: '',
    options: { 'pass-discard-request': false },
    discard: 'unmap',
  },
  { title: 'a data file', create: 'data_file=', options: {}, discard: 'unmap' },
  { title: 'a raw data file', create: 'data_file_raw=on,data_file=', options: {}, discard: 'unmap' },
];

describe('the space of discards, beside qemu-io', function () {
  this.timeout(120_000);
  let shop: Workshop;
  let workspace: Workspace;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    shop = await Workshop.open();
    workspace = new Workspace(openRealHost());
  });
  after(async () => {
    await workspace.close();
    shop.remove();
  });

  async function change(image: Image, [kind, offset, length]: Step): Promise<void> {
    if (kind === 'write') await image.write(offset, new Uint8Array(length).fill(7));
    else if (kind === 'discard') await image.discard(offset, length);
    else await image.writeZeroes(offset, length, { mayUnmap: kind === 'unmap' });
  }

  function command([kind, offset, length]: Step): string {
    if (kind === 'write') return `write -q -P 7 ${offset} ${length}`;
    return kind === 'discard'
      ? `discard -q ${offset} ${length}`
      : `write -q ${kind === 'unmap' ? '-zu' : '-z'} ${offset} ${length}`;
  }

  for (const [index, { title, create, options, discard }] of CASES.entries()) {
    it(`is given back as QEMU does: ${title}`, async () => {
      const kilobytes: number[] = [];
      for (const side of ['ours', 'theirs']) {
        const name = `${side}${index}.qcow2`;
        const data = shop.path(`${side}${index}.data`);
        const o = create === '' ? [] : ['-o', `${create}${data}`];
        shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', ...o, name, '16M');
        if (side === 'ours') {
          const file = { driver: 'file', filename: shop.path(name) } as const;
          const image = await workspace.open({ driver: 'qcow2', file, ...options }, { discard });
          for (const step of STEPS) await change(image, step);
          await image.close();
        } else {
          const file = { driver: 'file', filename: name };
          const json = `json:${JSON.stringify({ driver: 'qcow2', file, discard, ...options })}`;
          shop.must('qemu-io', ...STEPS.flatMap((step) => ['-c', command(step)]), json);
        }
        const files = create === '' ? [shop.path(name)] : [shop.path(name), data];
        kilobytes.push(files.reduce((sum, path) => sum + statSync(path).blocks / 2, 0));
      }
      shop.must('qemu-img', 'compare', '-q', `ours${index}.qcow2`, `theirs${index}.qcow2`);
      expect(kilobytes[0], `${title}: ${kilobytes.join(' and ')} KiB`).to.be.below(kilobytes[1] + SLACK);
    });
  }
});
