// A command whose last writes and flushes fail has failed: nothing on standard output says that it succeeded, it exits with 1, and one error says
// why. The image lies on a server that fails one change after another, up to the very last one, which comes while the image is being closed.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { type Outcome, Workshop } from '../support/cli.js';
import { listening } from '../support/nbd-process.js';
import { requirePeer } from '../support/peers.js';

const SIZE = 1 << 20;
const SERVER = 'file.driver=nbd,file.server.type=unix,file.server.path=socket';
/** So many of the last changes are made to fail, one in each run. */
const LAST = 2;
/** Word list, and what lies on the server. */
const COMMANDS: readonly (readonly [command: string, image: string])[] = [
  [`stream --image-opts driver=qcow2,${SERVER}`, 'top'],
  [`commit --image-opts driver=qcow2,${SERVER}`, 'top'],
  [
    `commit --image-opts driver=qcow2,file.filename=top,backing.driver=qcow2,backing.${SERVER.replaceAll(',', ',backing.')}`,
    'base',
  ],
  ['mirror -f raw --format=raw --target=nbd+unix:///?socket=socket source', 'blank'],
  ['backup -f raw --format=raw --target=nbd+unix:///?socket=socket source', 'blank'],
  ['convert --progress=json -f raw -O raw source nbd+unix:///?socket=socket', 'blank'],
  ['convert --progress=json -f raw -O qcow2 source nbd+unix:///?socket=socket', 'roomy'],
];

const SUCCESS = /streamed|committed|completed|mirrored|backed up|finished|copied/i;

describe('a command whose last changes fail', () => {
  let shop: Workshop;
  before(async function () {
    requirePeer(this, 'nbdkit');
    shop = await Workshop.open();
    writeFileSync(shop.path('source'), Buffer.alloc(SIZE, 5));
    writeFileSync(shop.path('blank.keep'), Buffer.alloc(SIZE));
    writeFileSync(shop.path('roomy.keep'), Buffer.alloc(4 * SIZE));
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'base', String(SIZE));
    shop.qemuIo('base', `write -q -P 3 0 ${SIZE}`);
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', shop.path('base'), '-F', 'qcow2', 'top');
    shop.qemuIo('top', 'write -q -P 4 0 64k');
    // A server's export cannot grow.
    for (const name of ['base', 'top']) {
      shop.must('truncate', '-s', String(4 * SIZE), name);
      copyFileSync(shop.path(name), shop.path(`${name}.keep`));
    }
  });
  after(() => shop?.remove());

  /** A server of `image`, whose change number `failing` (0: none) fails. */
  async function serve(image: string, failing: number): Promise<ChildProcess> {
    for (const name of ['base', 'top', 'blank', 'roomy']) copyFileSync(shop.path(`${name}.keep`), shop.path(name));
    rmSync(shop.path('socket'), { force: true });
    writeFileSync(shop.path('changes'), '');
    const path = `'${shop.path(image)}'`;
    const changes = `'${shop.path('changes')}'`;
    // One at a time: of two that come together, each counts itself.
    const count = `exec 9>> ${changes}; flock 9; echo >&9; if [ $(wc -l < ${changes}) = ${failing} ]; then echo EIO >&2; exit 1; fi; exec 9>&-`;
    const methods = [
      `get_size=stat -c %s ${path}`,
      `pread=dd if=${path} bs=1M iflag=skip_bytes,count_bytes skip=$4 count=$3 status=none`,
      'can_write=exit 0',
      `pwrite=${count}; dd of=${path} bs=1M oflag=seek_bytes seek=$4 conv=notrunc status=none`,
      'can_flush=exit 0',
      `flush=${count}`,
    ];
    const child = spawn('nbdkit', ['-f', '-U', shop.path('socket'), 'eval', ...methods], { stdio: 'ignore' });
    await listening(shop.path('socket'), () => child.exitCode !== null);
    return child;
  }

  /** The command with that change failing, and how many changes there were. */
  async function run(command: string, image: string, failing: number): Promise<Outcome & { changes: number }> {
    const server = await serve(image, failing);
    try {
      const outcome = shop.ours(...command.split(' '));
      return { ...outcome, changes: readFileSync(shop.path('changes')).length };
    } finally {
      const gone = once(server, 'exit');
      server.kill('SIGKILL');
      await gone;
    }
  }

  it('takes as many words for success as there are: what is looked for below would be found', () => {
    for (const word of ['Image streamed.', 'Image committed.', '"completed"']) expect(word).to.match(SUCCESS);
  });

  for (const [command, image] of COMMANDS) {
    it(`${command.slice(0, 50)} (${image}) says no word of success`, async () => {
      const good = await run(command, image, 0);
      expect(good.code, good.stderr).to.equal(0);
      expect(good.stdout).to.match(SUCCESS);
      expect(good.changes).to.be.greaterThan(1);
      for (let failing = good.changes; failing > 0 && failing > good.changes - LAST; failing--) {
        const bad = await run(command, image, failing);
        const about = `change ${failing} of ${good.changes}: ${bad.stdout}${bad.stderr}`;
        if (bad.changes < failing) continue;
        expect(bad.code, about).to.equal(1);
        expect(bad.stdout, about).to.not.match(SUCCESS);
        expect(
          bad.stderr.match(/: (flush|write of \d+ bytes at \d+) failed: Input\/output error/g),
          about,
        ).to.have.length(1);
      }
    });
  }
});
