// Ctrl-C in a script: bash ends with a command that has died by the signal, and goes on behind one that has ended by itself.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { endProcess } from '../../src/cli/end-process.js';
import { Workshop } from '../support/cli.js';
import { codeOfDeathBy, diedBy } from '../support/ended.js';
import { requirePeer } from '../support/peers.js';
import { onTerminal } from '../support/terminal.js';

const CTRL_C = '\x03';
/** 64 MiB at 1 MiB a second: it is not over before the signal. */
const COPY = 'convert -r 1M -O raw source target';

describe('a script that Ctrl-C ends', function () {
  this.timeout(60_000);
  let shop: Workshop;

  before(async function () {
    for (const peer of ['bash', 'python3', 'qemu-img']) requirePeer(this, peer);
    shop = await Workshop.open();
    writeFileSync(shop.path('source'), Buffer.alloc(64 << 20, 1));
    expect(shop.ours('shims', '-q', 'bin').code).to.equal(0);
  });
  beforeEach(() => {
    shop.must('rm', '-f', 'target', 'after');
  });
  after(() => shop?.remove());

  /** What a script calls. */
  const programs: Readonly<Record<string, () => string>> = {
    diskwright: () => `"${process.execPath}" "${shop.bundle}"`,
    'the shim of qemu-img': () => `"${shop.path('bin/qemu-img')}"`,
    'qemu-img itself': () => 'qemu-img',
  };
  for (const [name, program] of Object.entries(programs)) {
    it(`does not go on behind ${name}`, async () => {
      const script = `${program()} ${COPY}; touch after`;
      const bash = spawn('bash', ['-c', script], { cwd: shop.folder, detached: true, stdio: 'ignore' });
      const ended = once(bash, 'close');
      while (bash.exitCode === null && !existsSync(shop.path('target'))) await new Promise(setImmediate);
      process.kill(-bash.pid!, 'SIGINT');
      expect(await ended).to.deep.equal(diedBy('SIGINT'));
      expect(existsSync(shop.path('after'))).to.equal(false);
    });

    it(`does not go on behind ${name} where a person types it at a terminal`, () => {
      const script = `${program()} ${COPY} -p; touch after`;
      const { code } = onTerminal(shop, ['bash', '-c', script], [{ see: '%' }, { type: CTRL_C }]);
      expect(code).to.equal(codeOfDeathBy('SIGINT'));
      expect(existsSync(shop.path('after'))).to.equal(false);
    });
  }

  for (const name of ['the shim of qemu-img', 'qemu-img itself']) {
    it(`has signals ignored (nohup, a job in the background): ${name} goes on`, async () => {
      const script = `trap '' HUP INT TERM; exec ${programs[name]()} convert -r 32M -O raw source target`;
      const copy = spawn('sh', ['-c', script], { cwd: shop.folder, stdio: 'ignore' });
      const ended = once(copy, 'close');
      while (copy.exitCode === null && !existsSync(shop.path('target'))) await new Promise(setImmediate);
      for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const) copy.kill(signal);
      expect(await ended).to.deep.equal([0, null]);
      expect(readFileSync(shop.path('target')).equals(readFileSync(shop.path('source')))).to.equal(true);
    });
  }

  it('has the exit codes that stand for the signals', async () => {
    for (const [signal, code] of [
      ['INT', 130],
      ['TERM', 143],
      ['HUP', 129],
    ] as const) {
      shop.must('rm', '-f', 'target');
      // The shell that waits has not got the signal, and says how the command ended.
      const script = `${programs['diskwright']()} ${COPY} & while [ ! -e target ]; do sleep 0.1; done; kill -${signal} $!; wait $!`;
      expect(shop.run('bash', '-c', script).code, signal).to.equal(code);
    }
  });
});

describe('the end of a process that a signal does not end', () => {
  it('is its exit code: the first process of a container is spared', () => {
    const { kill } = process;
    const calls: unknown[] = [];
    process.kill = (pid, signal) => {
      calls.push([pid, signal]);
      return true;
    };
    try {
      endProcess(143, ((code: number) => calls.push(code)) as never);
    } finally {
      process.kill = kill;
    }
    expect(calls).to.deep.equal([[process.pid, 'SIGTERM'], 143]);
  });
});
