// `diskwright backup --bitmap`: copies what a persistent bitmap marks, and the bitmap begins anew. qemu-img reads what comes of it.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { expect } from 'chai';
import { type Outcome, Workshop } from '../support/cli.js';
import { diedBy } from '../support/ended.js';

const MiB = 1024 * 1024;
const DONE = { code: 0, stdout: 'Image backed up.\n', stderr: '' };

describe('command line: backup of what a bitmap marks', function () {
  this.timeout(60_000);
  let shop: Workshop;

  beforeEach(async () => {
    shop = await Workshop.open();
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'disk.qcow2', '16M');
    shop.must('qemu-img', 'bitmap', '--add', 'disk.qcow2', 'b');
    shop.qemuIo('disk.qcow2', 'write -P 1 0 4M');
  });
  afterEach(() => shop.remove());

  const backup = (...words: string[]): Outcome => shop.ours('backup', ...words, 'disk.qcow2');
  const incremental = (target: string, ...words: string[]): Outcome =>
    backup('--sync=incremental', '--bitmap=b', `--target=${target}`, ...words);
  const overlay = (name: string, below: string): string =>
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', below, '-F', 'qcow2', name);
  const identical = (a: string, b: string): void => {
    expect(shop.must('qemu-img', 'compare', a, b)).to.equal('Images are identical.\n');
  };
  /** Bytes that an image itself holds. */
  const ownBytes = (image: string): number =>
    (
      JSON.parse(shop.must('qemu-img', 'map', '--output=json', image)) as {
        depth: number;
        length: number;
        data: true;
      }[]
    )
      .filter(({ depth, data }) => depth === 0 && data)
      .reduce((sum, { length }) => sum + length, 0);
  /** Bytes that the bitmap marks, by what a copy of it would hold. */
  const dirty = (): number => {
    expect(backup('--sync=bitmap', '--bitmap=b', '--bitmap-mode=never', '--target=marked.qcow2')).to.deep.equal(DONE);
    return ownBytes('marked.qcow2');
  };

  it('a full backup clears it, each incremental one copies what came since, and the chain is the disk', () => {
    expect(dirty()).to.equal(4 * MiB);
    expect(backup('--bitmap=b', '--target=full.qcow2')).to.deep.equal(DONE);
    let below = 'full.qcow2';
    for (const [at, name] of ['one.qcow2', 'two.qcow2'].entries()) {
      shop.qemuIo('disk.qcow2', `write -P ${at + 2} ${at + 1}M 64k`);
      overlay(name, below);
      expect(incremental(name, '--mode=existing')).to.deep.equal(DONE);
      expect(ownBytes(name)).to.equal(65536);
      identical('disk.qcow2', name);
      below = name;
    }
    shop.must('qemu-img', 'check', '-q', 'disk.qcow2');
    expect(shop.must('qemu-img', 'info', 'disk.qcow2'))
      .to.include('name: b')
      .and.not.to.include('in-use');
  });

  it('a new target holds what has changed, and nothing else', () => {
    expect(backup('--bitmap=b', '--target=full.qcow2')).to.deep.equal(DONE);
    shop.qemuIo('disk.qcow2', 'write -P 2 1M 64k');
    expect(incremental('changes.qcow2')).to.deep.equal(DONE);
    expect(ownBytes('changes.qcow2')).to.equal(65536);
    shop.must('qemu-img', 'rebase', '-u', '-b', 'full.qcow2', '-F', 'qcow2', 'changes.qcow2');
    identical('disk.qcow2', 'changes.qcow2');
  });

  it('marks what it did before, where the backup is interrupted', async () => {
    const words = [
      '--sync=incremental',
      '--bitmap=b',
      '--target=t.qcow2',
      '--progress=json',
      '-r',
      '64k',
      'disk.qcow2',
    ];
    const child = spawn(process.execPath, [shop.bundle, 'backup', ...words], { cwd: shop.folder, stdio: 'pipe' });
    child.stdout.once('data', () => child.kill('SIGINT'));
    expect(await once(child, 'close')).to.deep.equal(diedBy('SIGINT'));
    expect(dirty()).to.equal(4 * MiB);
  });

  it('is refused before a target is made, and before the disk is written', () => {
    const disk = shop.must('sha256sum', 'disk.qcow2');
    for (const [words, message] of [
      [['--sync=incremental', '--bitmap=c'], "Bitmap 'c' could not be found"],
      [
        ['--sync=incremental'],
        '--sync=incremental copies what a dirty bitmap marks: name the bitmap with --bitmap=NAME',
      ],
      [
        ['--sync=bitmap', '--bitmap-mode=never'],
        '--sync=bitmap copies what a dirty bitmap marks: name the bitmap with --bitmap=NAME',
      ],
      [
        ['--bitmap-mode=always'],
        '--bitmap-mode says what becomes of a dirty bitmap: name the bitmap with --bitmap=NAME',
      ],
      [
        ['--sync=incremental', '--bitmap=b', '--bitmap-mode=never'],
        "Bitmap sync mode must be 'on-success' when using sync mode 'incremental'",
      ],
      [
        ['--bitmap=b', '--bitmap-mode=x'],
        "Parameter 'bitmap-mode' does not accept value 'x': use one of on-success, always, never",
      ],
    ] as const) {
      const { code, stderr } = backup(...words, '--target=t.qcow2');
      expect({ code, stderr: stderr.split('\n')[0] }).to.deep.equal({ code: 1, stderr: `diskwright: ${message}` });
      expect(existsSync(shop.path('t.qcow2'))).to.equal(false);
    }
    expect(shop.must('sha256sum', 'disk.qcow2')).to.equal(disk);
  });

  it('refuses one that a crash has left in use', () => {
    const child = ['-c', 'write 0 64k', '-c', 'abort', 'disk.qcow2'];
    expect(shop.run('qemu-io', ...child).code).to.not.equal(0);
    const { code, stderr } = incremental('t.qcow2');
    expect(code).to.equal(1);
    expect(stderr).to.match(/^diskwright: Bitmap 'b' is inconsistent and cannot be used/);
  });
});
