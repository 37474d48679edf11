// What a copy leaves out because the target reads it from below must be what the source reads: over the source's own backing file, over another
// one, over a copy of it, into a target that holds something already. Compared with qemu-img, and with qemu-img convert where it gives the same.

import { copyFileSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

interface Run {
  start: number;
  length: number;
  depth: number;
  data: boolean;
  zero: boolean;
}

describe('what copies leave out', function () {
  this.timeout(120_000);
  let shop: Workshop;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    shop = await Workshop.open();
    for (const [name, pattern] of [
      ['a', 1],
      ['b', 2],
    ]) {
      shop.must('qemu-img', 'create', '-q', '-f', 'raw', String(name), '4M');
      shop.must('qemu-io', '-f', 'raw', '-c', `write -q -P ${pattern} 0 3M`, String(name));
    }
    copyFileSync(shop.path('a'), shop.path('copy-of-a'));
    overlay('mid', 'a', 'raw');
    shop.qemuIo('mid', 'write -q -P 5 512k 256k');
    overlay('top', 'a', 'raw');
    shop.qemuIo('top', 'write -q -P 9 1M 1M', 'write -q -z 2M 512k', 'write -q -P 0 3M 64k');
    overlay('high', 'mid', 'qcow2');
    shop.qemuIo('high', 'write -q -P 9 1M 1M', 'write -q -z 2M 512k');
    shop.must('qemu-img', 'create', '-q', '-f', 'raw', 'zeroes', '4M');
  });
  after(() => shop.remove());

  function overlay(name: string, backing: string, format: string): void {
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', backing, '-F', format, name);
  }

  function expectSame(source: string, target: string): void {
    const { code, stdout } = shop.qemuImg('compare', source, target);
    expect(stdout).to.contain('identical');
    expect(code).to.equal(0);
    // 63: a raw image has nothing to be checked.
    expect(shop.qemuImg('check', '-q', target).code).to.be.oneOf([0, 63]);
  }

  function must(...words: string[]): void {
    expect(shop.ours(...words)).to.include({ code: 0, stderr: '' });
  }

  /** Bytes of data in the image itself. */
  function own(name: string): number {
    return map(name).reduce((sum, { depth, data, length }) => sum + (depth === 0 && data ? length : 0), 0);
  }

  /** Where it is zeroes by itself, data by itself, or anything from below; places in the file left out. */
  function map(name: string): Run[] {
    const runs: Run[] = JSON.parse(shop.must('qemu-img', 'map', '--output=json', name));
    return runs.map(({ start, length, depth, data, zero }) => ({ start, length, depth, data, zero }));
  }

  for (const [source, backing] of [
    ['top', 'a'],
    ['top', 'b'],
    ['zeroes', 'a'],
    ['zeroes', 'zeroes'],
  ]) {
    it(`convert -n of '${source}' into an overlay of '${backing}' writes all, as qemu-img does`, () => {
      for (const target of ['ours', 'theirs']) {
        overlay(target, backing, 'raw');
        shop.qemuIo(target, 'write -q -P 7 128k 64k');
        const words = ['convert', '-n', '-O', 'qcow2', source, target];
        if (target === 'ours') must(...words);
        else shop.must('qemu-img', ...words);
      }
      expectSame(source, 'ours');
      // Of the one block of zeroes that a raw file is made with, qemu-img writes a cluster.
      if (source === 'top') expect(map('ours')).to.deep.equal(map('theirs'));
      for (const { depth } of map('ours')) expect(depth).to.equal(0);
    });
  }

  it('convert -B over the own backing file copies what the top holds, as qemu-img does', () => {
    must('convert', '-O', 'qcow2', '-B', 'a', '-F', 'raw', 'top', 'ours');
    shop.must('qemu-img', 'convert', '-O', 'qcow2', '-B', 'a', '-F', 'raw', 'top', 'theirs');
    expectSame('top', 'ours');
    expect(map('ours')).to.deep.equal(map('theirs'));
  });

  for (const [source, backing, atMost] of [
    ['top', 'b', 4 << 20],
    ['top', 'copy-of-a', 1 << 20],
    ['high', 'a', (1 << 20) + (256 << 10)],
    ['zeroes', 'b', 0],
  ] as const) {
    for (const flags of [[], ['-c'], ['-S', '0']]) {
      it(`convert ${flags.join(' ')} -B ${backing} of '${source}' reads as the source, whatever lies below`, () => {
        must('convert', ...flags, '-O', 'qcow2', '-B', backing, '-F', 'raw', source, 'ours');
        expectSame(source, 'ours');
        if (flags[0] !== '-S') expect(own('ours')).to.be.at.most(atMost);
      });
    }
  }

  it('convert refuses --target-is-zero for a target with a backing file', () => {
    overlay('ours', 'a', 'raw');
    expect(shop.ours('convert', '-n', '--target-is-zero', '-O', 'qcow2', 'zeroes', 'ours')).to.include({
      code: 1,
      stderr: 'diskwright: Cannot use --target-is-zero when the destination image has a backing file\n',
    });
  });

  for (const verb of ['mirror', 'backup']) {
    for (const [backing, stale] of [
      ['a', false],
      ['b', false],
      ['copy-of-a', false],
      ['a', true],
    ] as const) {
      it(`${verb} --sync=top onto an overlay of '${backing}'${stale ? ' that holds something' : ''} reads as the source`, () => {
        overlay('ours', backing, 'raw');
        if (stale) shop.qemuIo('ours', 'write -q -P 7 128k 64k', 'write -q -P 8 3M 1M');
        must(verb, '-q', '--sync=top', '--mode=existing', '--target=ours', 'top');
        expectSame('top', 'ours');
        if (backing !== 'b' && !stale) expect(own('ours')).to.be.at.most((1 << 20) + (64 << 10));
      });
    }

    it(`${verb} --sync=top onto an image without a backing file reads as the source`, () => {
      for (const format of ['raw', 'qcow2']) {
        shop.must('qemu-img', 'create', '-q', '-f', format, 'ours', '4M');
        shop.must('qemu-io', '-f', format, '-c', 'write -q -P 7 128k 64k', 'ours');
        must(verb, '-q', '--sync=top', '--mode=existing', `--format=${format}`, '--target=ours', 'top');
        expectSame('top', 'ours');
      }
    });
  }

  it('mirror --sync=none takes only a target that reads as the source', () => {
    overlay('ours', 'top', 'qcow2');
    must('mirror', '-q', '--sync=none', '--mode=existing', '--target=ours', 'top');
    expectSame('top', 'ours');
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'ours', '4M');
    must('mirror', '-q', '--sync=none', '--mode=existing', '--target=ours', 'top');
    expectSame('top', 'ours');
    shop.qemuIo('ours', 'write -q -P 7 128k 64k');
    for (const [format, target] of [
      ['qcow2', 'ours'],
      ['raw', 'b'],
    ]) {
      const refused = shop.ours(
        'mirror',
        '--sync=none',
        '--mode=existing',
        `--format=${format}`,
        `--target=${target}`,
        'top',
      );
      expect(refused.code).to.equal(1);
      expect(refused.stderr).to.contain('sync=none needs a target that holds nothing');
    }
  });

  it('mirror --sync=none onto an overlay of another image names the source in it', () => {
    overlay('ours', 'b', 'raw');
    must('mirror', '-q', '--sync=none', '--mode=existing', '--target=ours', 'top');
    expectSame('top', 'ours');
  });
});
