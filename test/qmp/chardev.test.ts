// Character devices and the monitors at them: files, pipes, ring buffers, sockets that connect again.

import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  constants,
  existsSync,
  openSync,
  readFileSync,
  readSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { expect } from 'chai';
import { SocketBackend } from '../../src/qmp/chardev/socket.js';
import { Monitors } from '../../src/qmp/monitors.js';
import type { ChardevOptions } from '../../src/schema/generated/types.js';
import { BlockError } from '../../src/util/errors.js';
import { Waiters } from '../../src/util/waiters.js';
import { failureOf } from '../drivers/support.js';
import { FakeClock } from '../support/fake-clock.js';
import { until } from '../support/nbd-process.js';
import { Bench } from './support.js';

const HELLO = '{"execute": "qmp_capabilities"}{"execute": "query-version", "id": 7}\n';

describe('character devices', () => {
  let bench: Bench;
  let monitors: Monitors;

  beforeEach(() => {
    bench = new Bench();
    monitors = new Monitors(bench.context);
  });
  afterEach(async () => {
    await monitors.close();
    await bench.close();
  });

  const add = (options: ChardevOptions) => bench.addChardev(options);
  const lines = (text: string): Record<string, unknown>[] =>
    text
      .split('\r\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);

  it('that are files: commands come from one, answers go to the other', async () => {
    writeFileSync(bench.path('in'), HELLO);
    await add({ backend: 'file', id: 'f', path: bench.path('out'), 'input-path': bench.path('in') });
    monitors.add({ chardev: 'f' });
    await until('the answers are there', () => lines(readFileSync(bench.path('out'), 'utf8')).length === 3);
    await monitors.close();
    const [greeting, , version] = lines(readFileSync(bench.path('out'), 'utf8'));
    expect(greeting).to.have.property('QMP');
    expect(version).to.have.property('id', 7);
  });

  it('that are files: are appended to where that is asked for, and truncated where not', async () => {
    for (const [append, kept] of [
      [true, 'before'],
      [false, ''],
    ] as const) {
      writeFileSync(bench.path('out'), 'before');
      await add({ backend: 'file', id: 'f', path: bench.path('out'), append });
      expect(readFileSync(bench.path('out'), 'utf8')).to.equal(kept);
      await bench.context.chardevs.remove('f');
    }
  });

  it('that are files: what cannot be read leaves the other file as it is', async () => {
    writeFileSync(bench.path('out'), 'before');
    const failure = await failureOf(
      add({ backend: 'file', id: 'f', path: bench.path('out'), 'input-path': bench.path('none') }),
    );
    expect(failure).to.include({ code: 'not-found' });
    expect(readFileSync(bench.path('out'), 'utf8')).to.equal('before');
  });

  it('that are pipes: a client comes by them, and others after it', async () => {
    expect(spawnSync('mkfifo', [bench.path('p.in'), bench.path('p.out')]).status).to.equal(0);
    await add({ backend: 'pipe', id: 'p', path: bench.path('p') });
    monitors.add({ chardev: 'p' });
    const out = openSync(bench.path('p.out'), constants.O_RDONLY | constants.O_NONBLOCK);
    let text = '';
    const take = (): string => {
      const buffer = Buffer.alloc(65536);
      try {
        text += buffer.toString('utf8', 0, readSync(out, buffer));
      } catch (error) {
        expect((error as NodeJS.ErrnoException).code).to.equal('EAGAIN');
      }
      return text;
    };
    for (const client of [HELLO, '{"execute": "query-version", "id": 8}']) {
      const input = openSync(bench.path('p.in'), constants.O_WRONLY);
      writeSync(input, client);
      closeSync(input);
    }
    await until('the answers are there', () => lines(take()).length === 4);
    closeSync(out);
    expect(lines(text).map(({ id }) => id)).to.deep.equal([undefined, undefined, 7, 8]);
  });

  it('that are pipes: nobody who reads does not keep the end from coming', async () => {
    expect(spawnSync('mkfifo', [bench.path('p.in'), bench.path('p.out')]).status).to.equal(0);
    await add({ backend: 'pipe', id: 'p', path: bench.path('p') });
    expect(bench.context.chardevs.list()).to.deep.equal([{ label: 'p', filename: 'pipe', 'frontend-open': false }]);
    await bench.context.chardevs.remove('p');
  });

  it('that are pipes need two of them', async () => {
    expect(await failureOf(add({ backend: 'pipe', id: 'p', path: bench.path('p') }))).to.include({ code: 'not-found' });
    expect(spawnSync('mkfifo', [bench.path('p')]).status).to.equal(0);
    expect(await failureOf(add({ backend: 'pipe', id: 'p', path: bench.path('p') }))).to.include({
      code: 'unsupported',
    });
    for (const name of ['q.in', 'q.out']) writeFileSync(bench.path(name), '');
    const failure = await failureOf(add({ backend: 'pipe', id: 'q', path: bench.path('q') }));
    expect(failure).to.include({ code: 'invalid-argument', reason: 'not a pipe' });
  });

  it('that are ring buffers hold what a monitor there says', async () => {
    await add({ backend: 'ringbuf', id: 'r', size: 64 });
    monitors.add({ chardev: 'r' });
    const client = await bench.client();
    const said = await client.call('ringbuf-read', { device: 'r', size: 100 });
    expect(said).to.have.lengthOf(64);
    expect(said).to.match(/\["oob"\]\}\}\r\n$|"capabilities"/);
  });

  it('are a thousand and twenty-four at most', async () => {
    for (let i = 0; i < 1024; i++) await add({ backend: 'null', id: `n${i}` });
    const { code, message } = await failureOf(add({ backend: 'null', id: 'more' }));
    expect({ code, message }).to.deep.equal({
      code: 'limit',
      message: 'There are 1024 character devices: no more can be made',
    });
  });

  it('that are null may have a monitor, which nobody hears', async () => {
    await add({ backend: 'null', id: 'n' });
    monitors.add({ chardev: 'n' });
    expect(bench.context.chardevs.list()[0]).to.deep.equal({ label: 'n', filename: 'null', 'frontend-open': true });
    expect(await failureOf(bench.context.chardevs.remove('n'))).to.include({ code: 'busy' });
    expect(() => monitors.add({ chardev: 'n' })).to.throw(/Device 'n' is in use/);
    expect(() => monitors.add({ chardev: 'x' })).to.throw(/chardev "x" not found/);
  });

  describe('that are sockets', () => {
    let server: Server | null;
    const sockets: Socket[] = [];
    const came = new Waiters();

    beforeEach(() => {
      server = null;
    });
    afterEach(() => {
      for (const socket of sockets.splice(0)) socket.destroy();
      server?.close();
    });

    const greetingOf = (socket: Socket): Promise<string> =>
      new Promise((resolve) => socket.once('data', (bytes) => resolve(String(bytes))));

    async function listen(): Promise<void> {
      server = createServer((socket) => {
        sockets.push(socket);
        socket.on('error', () => undefined);
        came.wake();
      });
      await new Promise<void>((resolve) => server?.listen(bench.path('s'), resolve));
    }

    it('keep those who come before the monitor does', async () => {
      await add({ backend: 'socket', id: 's', path: bench.path('s'), server: true, wait: false });
      const socket = connect(bench.path('s'));
      sockets.push(socket);
      await until('it is there', () => !bench.context.chardevs.list()[0].filename.startsWith('disconnected'));
      monitors.add({ chardev: 's' });
      expect(await greetingOf(socket)).to.contain('"QMP"');
      socket.destroy();
      const { chardevs } = bench.context;
      await until(
        'it has gone',
        () => chardevs.list()[0].filename === `disconnected:unix:${bench.path('s')},server=on`,
      );
    });

    it('turn away those beyond sixteen while there is no monitor', async () => {
      await add({ backend: 'socket', id: 's', path: bench.path('s'), server: true, wait: false });
      const closed = new Promise<void>((resolve) => {
        for (let i = 0; i < 17; i++)
          sockets.push(
            connect(bench.path('s'))
              .on('close', () => resolve())
              .resume(),
          );
      });
      await closed;
      expect(sockets.filter((socket) => socket.destroyed)).to.have.lengthOf(1);
    });

    it('wait for the first client, and give that up at the end', async () => {
      const adding = add({ backend: 'socket', id: 's', path: bench.path('s'), server: true });
      await until('it listens', () => existsSync(bench.path('s')));
      const given = failureOf(adding);
      await bench.context.chardevs.close();
      expect(await given).to.include({ code: 'closed' });
      expect(existsSync(bench.path('s'))).to.equal(false);
    });

    it('connect to somebody who listens, once', async () => {
      await listen();
      await add({ backend: 'socket', id: 's', path: bench.path('s') });
      monitors.add({ chardev: 's' });
      if (sockets.length === 0) await came.wait();
      expect(await greetingOf(sockets[0])).to.contain('"QMP"');
    });

    it('connect again where that is asked for, however often the other side goes', async () => {
      const warnings: string[] = [];
      await bench.close();
      bench = new Bench((message) => warnings.push(message));
      monitors = new Monitors(bench.context);
      await add({ backend: 'socket', id: 's', path: bench.path('s'), reconnect: 1 });
      monitors.add({ chardev: 's' });
      await until('the first attempt has failed', () => warnings.length > 0);
      expect(warnings[0]).to.match(
        /^Unable to connect character device s: Failed to connect to '.*\/s': No such file or directory$/,
      );
      await listen();
      for (let round = 0; round < 2; round++) {
        while (sockets.length === round) await came.wait();
        expect(await greetingOf(sockets[round])).to.contain('"QMP"');
        sockets[round].destroy();
      }
    });

    it('say once that nobody is there, and again when somebody was', async () => {
      const warnings: string[] = [];
      const clock = new FakeClock();
      const there: { owner: unknown }[] = [];
      let attempts = 0;
      const link: { owner: unknown } = { owner: null };
      const connect = async () => {
        if (++attempts !== 4) throw new BlockError('io', `attempt ${attempts}`);
        there.push(link);
        return link;
      };
      const around = { host: { clock, net: { connect } }, objects: {}, warn: (text: string) => warnings.push(text) };
      const settings = { address: { type: 'unix', path: 's' }, server: false, wait: false, reconnectSeconds: 1 };
      const backend = new SocketBackend(around as never, settings as never, 's');
      await backend.open();
      await clock.advance(3000);
      expect([attempts, warnings]).to.deep.equal([4, ['Unable to connect character device s: attempt 1']]);
      (there[0].owner as { closed(): void }).closed();
      await clock.advance(3000);
      expect([attempts, warnings[1], warnings.length]).to.deep.equal([
        7,
        'Unable to connect character device s: attempt 5',
        2,
      ]);
      await backend.close();
      expect(clock.pending).to.equal(0);
    });

    it('are refused where members contradict each other', async () => {
      const path = bench.path('s');
      const cases: readonly (readonly [object, RegExp])[] = [
        [{}, /exactly one of 'path', 'port' and 'fd'/],
        [{ path, port: '1' }, /exactly one of/],
        [{ path, wait: true }, /'wait' option is incompatible/],
        [{ path, server: true, reconnect: 1 }, /'reconnect' option is incompatible with socket in server listen mode/],
        [{ fd: '3', reconnect: 1 }, /'reconnect' option is incompatible with 'fd'/],
        [{ fd: 'passed', reconnect: 1 }, /'reconnect' option is incompatible with 'fd'/],
        [{ path, reconnect: -1 }, /'reconnect' expects seconds/],
        [{ path, reconnect: 1e9 }, /'reconnect' expects seconds/],
      ];
      for (const [options, said] of cases) {
        const failure = await failureOf(add({ backend: 'socket', id: 's', ...options } as ChardevOptions));
        expect(failure.message).to.match(said);
      }
      expect(bench.context.chardevs.list()).to.deep.equal([]);
    });
  });

  it('that are changed keep the present one where the new one cannot be made', async () => {
    const client = await bench.client();
    await client.call('chardev-add', { id: 'r', backend: { type: 'ringbuf', data: {} } });
    await client.call('ringbuf-write', { device: 'r', data: 'kept' });
    appendFileSync(bench.path('x'), '');
    const backend = { type: 'file', data: { out: bench.path('x/none') } };
    expect((await client.ask('chardev-change', { id: 'r', backend })).error?.desc).to.match(
      /^Failed to add chardev 'r': /,
    );
    expect(await client.call('ringbuf-read', { device: 'r', size: 9 })).to.equal('kept');
    const huge = { type: 'ringbuf', data: { size: 2 ** 40 } };
    expect((await client.ask('chardev-add', { id: 'h', backend: huge })).error?.desc).to.contain('bytes at most');
  });
});
