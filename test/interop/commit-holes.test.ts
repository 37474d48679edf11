// Zeroes that a commit brings become holes in the base, as with qemu-img and with the jobs of qemu-storage-daemon.

import { statSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

const CLUSTER = 65536;

describe('commit of zeroes, beside qemu-img', function () {
  this.timeout(120_000);
  let shop: Workshop;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    shop = await Workshop.open();
  });
  after(() => shop.remove());

  /** base (full) <- mid <- top, where `zeroes` are written into one of the overlays. */
  function makeChain(side: string, format: string, holder: 'mid' | 'top', zeroes: string, size: string): void {
    const [base, mid, top] = ['base', 'mid', 'top'].map((name) => `${side}-${name}`);
    shop.must('qemu-img', 'create', '-q', '-f', format, base, '4M');
    shop.must('qemu-io', '-f', format, '-c', 'write -q -P 1 0 4M', base);
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', base, '-F', format, mid);
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', mid, '-F', 'qcow2', top, size);
    shop.qemuIo(`${side}-${holder}`, zeroes);
  }

  /** Clusters of data, and what the file takes on the disk. */
  function space(name: string): { clusters: number; kilobytes: number } {
    const runs: { depth: number; data: boolean; length: number }[] = JSON.parse(
      shop.must('qemu-img', 'map', '--output=json', name),
    );
    const bytes = runs.filter(({ depth, data }) => depth === 0 && data).reduce((sum, { length }) => sum + length, 0);
    return { clusters: bytes / CLUSTER, kilobytes: statSync(shop.path(name)).blocks / 2 };
  }

  const cases: [string, 'mid' | 'top', string, string, string[]][] = [
    ['into the next layer', 'mid', 'write -q -z 1M 2M', '4M', ['mid']],
    ['without emptying', 'mid', 'write -q -z 1M 2M', '4M', ['-d', 'mid']],
    ['over two layers', 'mid', 'write -q -z 1M 2M', '4M', ['-b', 'base', 'top']],
    ['of a longer top', 'top', 'write -q -z 1M 2M', '6M', ['-b', 'base', 'top']],
    ['of zeroes that are data', 'mid', 'write -q -P 0 1M 2M', '4M', ['mid']],
  ];
  for (const format of ['qcow2', 'raw']) {
    for (const [title, holder, zeroes, size, words] of cases) {
      it(`leaves a ${format} base the clusters and the space that it has there: ${title}`, () => {
        const spaces = ['ours', 'theirs'].map((side) => {
          makeChain(side, format, holder, zeroes, size);
          const args = ['commit', '-q', ...words.map((word) => (word.startsWith('-') ? word : `${side}-${word}`))];
          if (side === 'theirs') shop.must('qemu-img', ...args);
          else expect(shop.ours(...args).stderr).to.equal('');
          return space(`${side}-base`);
        });
        expect(spaces[0].clusters).to.equal(spaces[1].clusters);
        // The tables of a longer base may lie at other places.
        expect(spaces[0].kilobytes).to.be.within(spaces[1].kilobytes - 256, spaces[1].kilobytes + 256);
      });
    }
  }
});
