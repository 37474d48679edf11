// How a command says that it is done: success after everything is closed, and to programs one last object in every outcome.

import { writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { leaveOut } from '../support/needs.js';

/** Command lines that fail, each at another point; `%` is a target that does not exist. */
const FAILING: readonly string[] = [
  'convert -S 3 -O qcow2 source %',
  'convert -O qcow2 gone %',
  'convert -O qcow2 -o cluster_size=3000 source %',
  'convert -O qcow2 source folder/none/target',
  'convert -n -O raw source %',
  'convert -O raw source small/target',
  'stream --base=gone top',
  'stream gone',
  'mirror --target=% gone',
  'mirror --target=% --granularity=3 source',
  'backup --target=folder --format=raw source',
  'compare source gone',
  'commit source',
];

describe('the outcome of a command', () => {
  let shop: Workshop;
  let mounted = false;
  before(async () => {
    shop = await Workshop.open();
    writeFileSync(shop.path('source'), Buffer.alloc(1 << 20, 1));
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'source', '-F', 'raw', 'top');
    shop.must('mkdir', 'folder', 'small');
    try {
      shop.must('mount', '-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', 'small');
      mounted = true;
    } catch {
      // Without the right to mount, the folder is one of a plain file system.
    }
  });
  after(() => {
    if (mounted) shop.must('umount', 'small');
    shop.remove();
  });

  const objects = (stdout: string): { event: string; error?: string }[] =>
    stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line));

  for (const line of FAILING.filter((words) => !words.includes('small/'))) {
    it(`is one object where it fails: ${line}`, () => failsInOneObject(line));
  }

  function failsInOneObject(line: string): void {
    const [verb, ...words] = line.replace('%', 'target').split(' ');
    const { code, stdout, stderr } = shop.ours(verb, '--progress=json', ...words);
    expect(code, stderr).to.be.oneOf([1, 2]);
    const ends = objects(stdout).filter(({ event }) => event !== 'progress');
    expect(ends).to.have.length(1);
    expect(ends[0].event).to.equal('failed');
    expect(ends[0].error).to.be.a('string').and.not.equal('unknown');
    expect(objects(stdout).at(-1)).to.deep.equal(ends[0]);
  }

  for (const line of ['convert -O qcow2 source done.qcow2', 'stream top', 'compare source source']) {
    it(`is one object where it succeeds: ${line}`, () => {
      const [verb, ...words] = line.split(' ');
      const { code, stdout } = shop.ours(verb, '--progress=json', ...words);
      expect(code).to.equal(0);
      expect(objects(stdout).filter(({ event }) => event !== 'progress')).to.have.length(1);
      expect(objects(stdout).at(-1)?.event).to.equal('completed');
    });
  }

  describe('on a full disk', () => {
    before(function () {
      if (!mounted) leaveOut(this, 'mounts');
    });

    for (const line of FAILING.filter((words) => words.includes('small/'))) {
      it(`is one object where it fails: ${line}`, () => failsInOneObject(line));
    }

    it('is said as qemu-img says it, and which file is full', () => {
      const words = ['convert', '-O', 'raw', 'source', 'small/raw'];
      const { code, stderr } = shop.ours(...words);
      const theirs = shop.qemuImg(...words);
      // qemu-img leaves it to the reader to conclude that.
      const said = stderr.replace("'small/raw' is incomplete: delete it or start again.\n", '');
      expect(said).to.contain('small/raw: No space left');
      expect(said.replace('small/raw: ', '')).to.equal(theirs.stderr.replace(/^qemu-img/, 'diskwright'));
      expect(code).to.equal(theirs.code);
    });
  });
});
