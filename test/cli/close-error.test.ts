// A command that did all its work, and whose files then cannot be closed, has failed: no word of success, exit code 1, one error.

import { copyFileSync, rmSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { type Outcome, run, Workshop } from '../support/cli.js';
import { programOf } from '../support/program.js';

const PROGRAM = new URL('./failing-close.ts', import.meta.url);
const SIZE = 1 << 20;

const COMMANDS = [
  'stream top',
  'commit top',
  'mirror --format=raw --target=target -f raw source',
  'backup --target=target -f raw source',
  'convert -f raw -O qcow2 source target',
  'create -f qcow2 target 1M',
];

describe('a command whose files cannot be closed', () => {
  let shop: Workshop;
  before(async () => {
    shop = await Workshop.open();
    writeFileSync(shop.path('source'), Buffer.alloc(SIZE, 5));
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'base', String(SIZE));
    shop.qemuIo('base', `write -q -P 3 0 ${SIZE}`);
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'base', '-F', 'qcow2', 'top');
    shop.qemuIo('top', 'write -q -P 4 0 64k');
    for (const name of ['base', 'top']) copyFileSync(shop.path(name), shop.path(`${name}.keep`));
  });
  after(() => shop.remove());
  beforeEach(() => {
    for (const name of ['base', 'top']) copyFileSync(shop.path(`${name}.keep`), shop.path(name));
    rmSync(shop.path('target'), { force: true });
  });

  const failing = (...words: string[]): Outcome => run(process.execPath, [programOf(PROGRAM), ...words], shop.folder);

  for (const command of COMMANDS) {
    it(`says so, and nothing else: ${command}`, () => {
      const [verb, ...words] = command.split(' ');
      const { code, stdout, stderr } = failing(verb, ...words);
      expect(stderr.match(/Input\/output error|i\/o error/g), stdout + stderr).to.have.length(1);
      expect(stdout.replace(/^Formatting .*\n/, '')).to.equal('');
      expect(code).to.equal(1);
    });
  }

  for (const command of ['stream top', 'convert -f raw -O qcow2 source target']) {
    it(`is told to programs as failed: ${command}`, () => {
      const [verb, ...words] = command.split(' ');
      const { code, stdout } = failing(verb, '--progress=json', ...words);
      const events = stdout.trimEnd().split('\n');
      const ends = events
        .map((line) => (JSON.parse(line) as { event: string }).event)
        .filter((event) => event !== 'progress');
      expect(ends).to.deep.equal(['failed']);
      expect(code).to.equal(1);
    });
  }
});
