// A QMP client and servers that do not behave, or are not there; and programs that misuse the client.

import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { loadNative } from '../../src/host/real/binding.js';
import { openRealHost } from '../../src/host/real/index.js';
import { Workspace } from '../../src/library/workspace.js';
import { failureOf } from '../drivers/support.js';

const GREETING =
  '{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": "p"}, "capabilities": ["oob"]}}\r\n';
const DONE = (id: unknown): string => `{"return": {}, "id": ${id}}\r\n`;

describe('a QMP client', () => {
  let folder: string;
  let path: string;
  let workspace: Workspace;
  let server: Server | null;
  let sockets: Socket[];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'diskwright-qmp-'));
    path = join(folder, 'socket');
    workspace = new Workspace(openRealHost());
    server = null;
    sockets = [];
  });
  afterEach(async () => {
    await workspace.close();
    for (const socket of sockets) socket.destroy();
    server?.close();
    rmSync(folder, { recursive: true });
  });

  /** Greets with `greeting`, and answers each line by `answer`; what this returns is sent. */
  async function serve(greeting: string, answer: (line: Record<string, unknown>) => string = () => ''): Promise<void> {
    server = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => undefined);
      socket.write(greeting);
      let text = '';
      socket.on('data', (bytes) => {
        text += bytes;
        for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
          socket.write(answer(JSON.parse(text.slice(0, end)) as Record<string, unknown>));
          text = text.slice(end + 1);
        }
      });
    });
    await new Promise<void>((resolve) => server?.listen(path, resolve));
  }

  /** Negotiates, and answers all other commands by `answer`. */
  function serveCommands(answer: (line: Record<string, unknown>) => string): Promise<void> {
    return serve(GREETING, (line) => (line['execute'] === 'qmp_capabilities' ? DONE(line['id']) : answer(line)));
  }

  it('says where nobody listens', async () => {
    expect(await failureOf(workspace.connectQmp(path))).to.include({ code: 'not-found', path });
  });

  it('connects over TCP, and over a descriptor that is connected already', async () => {
    await serveCommands(({ id }) => DONE(id));
    const tcp = createServer((socket) => socket.pipe(connect(path)).pipe(socket));
    await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve));
    const { port } = tcp.address() as { port: number };
    const client = await workspace.connectQmp({ host: '127.0.0.1', port });
    expect(await client.executeAny('a')).to.deep.equal({});
    await client.close();
    tcp.close();
    const fd = loadNative().connectUnix(Buffer.from(path), false);
    const other = await workspace.connectQmp({ fd });
    expect(await other.executeAny('a')).to.deep.equal({});
  });

  it('gives up a server that does not greet, after its time limit', async () => {
    await serve('');
    const failure = await failureOf(workspace.connectQmp(path, { timeoutMs: 20 }));
    expect(failure).to.include({ code: 'cancelled' });
    expect(failure.message).to.match(/no greeting within 20 ms: is another client connected\?$/);
  });

  it('gives up when its signal is aborted, and when the workspace is closed', async () => {
    await serve('');
    const attempt = failureOf(workspace.connectQmp(path, { signal: AbortSignal.timeout(10) }));
    expect(await attempt).to.include({ code: 'cancelled' });
    const other = failureOf(workspace.connectQmp(path));
    await workspace.close();
    expect(await other).to.include({ code: 'cancelled' });
  });

  it('says that a server of something else speaks no QMP', async () => {
    for (const greeting of ['NBDMAGICIHAVEOPT', '{"QMP": 1}', '{"hello": 1}', '[]', 'SSH-2.0-OpenSSH\r\n']) {
      await serve(greeting);
      const failure = await failureOf(workspace.connectQmp(path));
      expect(failure, greeting).to.include({ code: 'io' });
      expect(failure.message, greeting).to.contain('not a QMP server');
      server?.close();
    }
  });

  it('leaves a server that answers what nobody has asked', async () => {
    await serveCommands(() => DONE(77));
    const client = await workspace.connectQmp(path);
    const failure = await failureOf(client.execute('query-version'));
    expect(failure).to.include({ code: 'io', operation: 'query-version' });
    await client.closed;
  });

  it('takes answers in any order, and integers of 64 bits exactly', async () => {
    const ids: unknown[] = [];
    await serveCommands(({ id }) => {
      ids.push(id);
      return ids.length < 2 ? '' : `{"return": 18446744073709551615, "id": ${ids[1]}}{"return": [1], "id": ${ids[0]}}`;
    });
    const client = await workspace.connectQmp(path);
    const both = await Promise.all([client.executeAny('a'), client.executeAny('b')]);
    expect(both).to.deep.equal([[1], 18446744073709551615n]);
  });

  it('stops waiting when the signal says so; the late answer harms nobody', async () => {
    let held: unknown = null;
    await serveCommands(({ execute, id }) => {
      if (execute === 'slow') held = id;
      return execute === 'slow' ? '' : `${DONE(held)}${DONE(id)}`;
    });
    const client = await workspace.connectQmp(path);
    const slow = failureOf(client.executeAny('slow', {}, { signal: AbortSignal.timeout(10) }));
    expect(await slow).to.include({ code: 'cancelled' });
    expect(await client.executeAny('quick')).to.deep.equal({});
  });

  it('has a limit for commands without an answer', async () => {
    await serveCommands(() => '');
    const client = await workspace.connectQmp(path);
    const calls = Array.from({ length: 1025 }, () => failureOf(client.executeAny('a')));
    expect(await calls[1024]).to.include({ code: 'limit' });
    await client.close();
    expect(await calls[0]).to.include({ code: 'closed' });
  });

  it('has a limit for events that an iteration does not take', async () => {
    const event = '{"event": "JOB_STATUS_CHANGE", "data": {"id": "j", "status": "running"}}';
    await serveCommands(({ id }) => event.repeat(16385) + DONE(id));
    const client = await workspace.connectQmp(path);
    const events = client.events();
    await client.executeAny('a');
    for (let i = 0; i < 16384; i++) expect((await events.next()).done).to.equal(false);
    expect(await failureOf(events.next())).to.include({ code: 'limit' });
    expect(await events.next()).to.deep.equal({ value: undefined, done: true });
  });

  it('refuses wrong addresses, options and arguments before anything is sent', async () => {
    const wrong = async (address: unknown, options?: unknown): Promise<string> =>
      (await failureOf(workspace.connectQmp(address as string, options as object))).code;
    for (const address of [
      1,
      {},
      { path, port: 1 },
      { port: 1 },
      { host: 'a' },
      { fd: -1 },
      { fd: 1, abstract: true },
      'a\0b',
    ]) {
      expect(await wrong(address), JSON.stringify(address)).to.equal('invalid-argument');
    }
    expect(await wrong({ pth: path })).to.equal('unknown-option');
    expect(await wrong(path, { timeoutMs: -1 })).to.equal('invalid-argument');
    await serveCommands(() => '');
    const client = await workspace.connectQmp(path);
    expect((await failureOf(client.executeAny('a', [] as object))).code).to.equal('invalid-argument');
    expect((await failureOf(client.executeAny('a', {}, { outOfBound: true } as object))).code).to.equal(
      'unknown-option',
    );
    expect(() => client.on('JOB_STATUS_CHANGE', 1 as never)).to.throw(/listener/);
  });
});
