// Sockets that a service manager has opened: the server finds one at descriptor 3.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { isAlive, listening, nbdCommand, SERVERS, type Server, until } from '../support/nbd-process.js';
import { RawClient } from '../support/nbd-raw.js';
import { requirePeer } from '../support/peers.js';

/** Listens at its first argument, and becomes the command behind it: the socket is descriptor 3. Node cannot do either. */
const MANAGER = `
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
os.dup2(listener.fileno(), 3)
os.dup2(3, 4)
os.set_inheritable(3, True)
os.set_inheritable(4, sys.argv[3] == '2')
pid, count = sys.argv[2:4]
os.environ.update(LISTEN_PID=pid or str(os.getpid()), LISTEN_FDS=count)
os.execvp(sys.argv[4], sys.argv[4:])
`;

describe('nbd: socket activation', () => {
  let shop: Workshop;
  let path: string;
  let child: ChildProcess | null;
  let background: number;

  before(function () {
    for (const peer of ['qemu-nbd', 'python3']) requirePeer(this, peer);
  });
  beforeEach(async () => {
    shop = await Workshop.open();
    path = shop.path('socket');
    child = null;
    background = 0;
    writeFileSync(shop.path('a.raw'), '');
    truncateSync(shop.path('a.raw'), 1 << 20);
  });
  afterEach(() => {
    child?.kill('SIGKILL');
    if (background !== 0 && isAlive(background)) process.kill(background, 'SIGKILL');
    shop.remove();
  });

  /** Starts the server as a service manager does, for the process `pid` (default: the server). */
  const activate = async (
    server: Server,
    args: readonly string[],
    { pid = '', count = 1 } = {},
  ): Promise<{ code(): Promise<number | null>; said(): string }> => {
    const { program, words } = await nbdCommand(server);
    const started = spawn('python3', ['-c', MANAGER, path, pid, String(count), program, ...words, ...args], {
      cwd: shop.folder,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child = started;
    const closed = once(started, 'close');
    let said = '';
    started.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    return {
      said: () => said,
      code: async () => {
        await closed;
        return started.exitCode;
      },
    };
  };
  const refusal = async (
    server: Server,
    args: readonly string[],
    settings?: { pid?: string; count?: number },
  ): Promise<string> => {
    const running = await activate(server, args, settings);
    expect(await running.code()).to.equal(1);
    return running
      .said()
      .replace(/^(diskwright|qemu-nbd): /, '')
      .replace('qemu-nbd', 'diskwright');
  };
  /** One who comes, and leaves. */
  const visit = async (): Promise<number> => {
    await listening(path);
    const client = await RawClient.connect(path);
    await client.go('simple');
    client.close();
    return client.size;
  };

  for (const server of SERVERS) {
    describe(server, () => {
      it('serves at it, and leaves its file alone', async () => {
        const running = await activate(server, ['-f', 'raw', 'a.raw']);
        expect(await visit()).to.equal(1 << 20);
        expect(await running.code()).to.equal(0);
        expect(existsSync(path)).to.equal(true);
      });

      it('serves at it in the background', async () => {
        const words = ['--fork', '-t', '--pid-file', shop.path('pid'), '-f', 'raw', 'a.raw'];
        const running = await activate(server, words);
        expect(await running.code()).to.equal(0);
        background = Number(readFileSync(shop.path('pid'), 'utf8'));
        expect(await visit()).to.equal(1 << 20);
        process.kill(background);
        await until('it has ended', () => !isAlive(background));
      });

      for (const [args, message] of [
        [['-k', '/nowhere/socket', 'a.raw'], "Unix socket can't be set when using socket activation"],
        [['-p', '10888', 'a.raw'], "TCP port number can't be set when using socket activation"],
        [['-b', '127.0.0.1', 'a.raw'], "The interface can't be set when using socket activation"],
        [['-L'], 'List mode is incompatible with socket activation'],
      ] as const) {
        it(`refuses ${args[0]} then`, async () => {
          expect(await refusal(server, args)).to.equal(`${message}\n`);
        });
      }

      it('refuses several sockets', async () => {
        const message = await refusal(server, ['a.raw'], { count: 2 });
        expect(message).to.equal('diskwright does not support socket activation with LISTEN_FDS > 1\n');
      });

      it('leaves alone what was meant for another process', async () => {
        const words = ['-k', '/nowhere/socket', '-f', 'raw', 'a.raw'];
        const message = await refusal(server, words, { pid: '1' });
        expect(message).to.include('Failed to bind socket to /nowhere/socket');
      });
    });
  }
});
