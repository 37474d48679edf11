// What signals do to commands and servers: none of node's own answers is left.

import { type ChildProcess, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { expect } from 'chai';
import { cliBundle, Workshop } from '../support/cli.js';
import { diedBy } from '../support/ended.js';

/** A command that runs long enough: 64 MiB at 4 MiB a second. */
const SLOW = ['convert', '-r', '4M', '-O', 'raw', 'source', 'target'];

class Running {
  readonly child: ChildProcess;
  said = '';
  /** Exit code and signal. */
  readonly ended: Promise<unknown[]>;

  constructor(program: string, args: readonly string[], cwd: string) {
    this.child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.said += chunk.toString();
      });
    }
    this.ended = once(this.child, 'close');
  }

  get alive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Does `action` again and again until `condition` holds. */
  async until(condition: () => boolean, action: () => void = () => undefined): Promise<void> {
    while (!condition() && this.alive) {
      action();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(condition(), this.said).to.equal(true);
  }
}

describe('signals', () => {
  let shop: Workshop;
  let bundle: string;
  before(async () => {
    shop = await Workshop.open();
    bundle = await cliBundle();
    writeFileSync(shop.path('source'), Buffer.alloc(64 << 20, 1));
  });
  after(() => shop.remove());

  const ours = (...words: string[]) => new Running(process.execPath, [bundle, ...words], shop.folder);
  const started = async (running: Running): Promise<Running> => {
    await running.until(() => existsSync(shop.path('target')));
    return running;
  };
  beforeEach(() => shop.must('rm', '-f', 'target'));

  it('SIGUSR1 prints how far a command is, in one line like that of qemu-img, and opens no debugger', async () => {
    const lines: string[] = [];
    for (const make of [() => ours(...SLOW), () => new Running('qemu-img', SLOW, shop.folder)]) {
      shop.must('rm', '-f', 'target');
      const running = await started(make());
      await running.until(
        () => running.said.endsWith('\n'),
        () => running.child.kill('SIGUSR1'),
      );
      running.child.kill('SIGKILL');
      await running.ended;
      lines.push(running.said.split('\n')[0]);
    }
    expect(lines[0]).to.match(/^ {4}\(\d+\.\d\d\/100%\)$/);
    expect(lines[1]).to.match(/^ {4}\(\d+\.\d\d\/100%\)$/);
  });

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    it(`${signal} ends a command in order: it says what state the files are in`, async () => {
      const running = await started(ours(...SLOW));
      // It is at work once it says how far it is.
      await running.until(
        () => running.said !== '',
        () => running.child.kill('SIGUSR1'),
      );
      running.child.kill(signal);
      expect(await running.ended).to.deep.equal(diedBy(signal));
      expect(running.said).to.include("Cancelled. 'source' is unchanged; 'target' is incomplete");
    });
  }

  for (const words of [
    ['convert', '-r', '1M', '-O', 'raw', 'source', 'target'],
    ['mirror', '-q', '-r', '1M', '-f', 'raw', '--target=target', 'source'],
    ['backup', '-q', '-r', '1M', '-f', 'raw', '--target=target', 'source'],
  ]) {
    it(`SIGINT ends ${words[0]} in order from the moment that there is a target`, async () => {
      const running = ours(...words);
      while (!existsSync(shop.path('target')) && running.alive) await new Promise(setImmediate);
      running.child.kill('SIGINT');
      expect(await running.ended, running.said).to.deep.equal(diedBy('SIGINT'));
      expect(running.said).to.match(/Cancelled\. .*incomplete: delete it or start again/);
    });
  }

  const SENTENCE = /^diskwright: .*[^\n]\n$/;
  // The main thread of `io` opens files itself, and would not hear of a signal while a file system does not answer: the system ends it.
  for (const [said, words] of [
    [SENTENCE, ['convert', '-O', 'raw']],
    [SENTENCE, ['compare', 'source']],
    [SENTENCE, ['backup', '--target=target']],
    [SENTENCE, ['stream']],
    [SENTENCE, ['salvage']],
    [SENTENCE, ['bench', '-c', '1']],
    [/^$/, ['io', '-c', 'length']],
    [SENTENCE, ['nbd', '--list']],
  ] as const) {
    it(`SIGINT ends ${words[0]} while its image is being opened, and what is said is ${said}`, async () => {
      const path = shop.path('silent.sock');
      const came = new EventEmitter();
      const server = createServer((socket) => {
        socket.on('error', () => undefined);
        came.emit('client');
      });
      await once(server.listen(path), 'listening');
      try {
        const client = once(came, 'client');
        const where = words[0] === 'nbd' ? ['-k', path] : [`nbd+unix:///?socket=${path}`];
        const end = words[0] === 'convert' || words[0] === 'salvage' ? ['target'] : [];
        const running = ours(...words, ...where, ...end);
        await client;
        running.child.kill('SIGINT');
        expect(await running.ended, running.said).to.deep.equal(diedBy('SIGINT'));
        expect(running.said).to.match(said);
        expect(existsSync(shop.path('target'))).to.equal(false);
      } finally {
        server.close();
        shop.must('rm', '-f', path);
      }
    });
  }

  it('SIGINT ends `io` in the middle of a sleep, and closes the image', async () => {
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'target', '1M');
    const running = ours('io', '-c', 'write -q 0 64k', '-c', 'length', '-c', 'sleep 600000', 'target');
    await running.until(() => running.said.includes('1 MiB'));
    running.child.kill('SIGINT');
    expect(await running.ended).to.deep.equal(diedBy('SIGINT'));
    expect(shop.must('qemu-img', 'check', 'target')).to.contain('No errors');
  });

  it('SIGQUIT ends a command at once, and SIGPIPE does nothing to it', async () => {
    const running = await started(ours(...SLOW));
    running.child.kill('SIGPIPE');
    running.child.kill('SIGPIPE');
    await running.until(
      () => running.said !== '',
      () => running.child.kill('SIGUSR1'),
    );
    running.child.kill('SIGQUIT');
    expect(await running.ended).to.deep.equal([null, 'SIGQUIT']);
  });

  it('SIGUSR1 and SIGPIPE do nothing to a server', async () => {
    const server = ours('nbd', '-t', '-k', shop.path('socket'), '-f', 'raw', 'source');
    await server.until(() => existsSync(shop.path('socket')));
    for (const signal of ['SIGUSR1', 'SIGPIPE', 'SIGUSR1'] as const) server.child.kill(signal);
    // It answers after them.
    shop.must('qemu-img', 'info', `nbd+unix:///?socket=${shop.path('socket')}`);
    expect(server.said).to.equal('');
    server.child.kill('SIGTERM');
    expect(await server.ended).to.deep.equal([0, null]);
  });
});
