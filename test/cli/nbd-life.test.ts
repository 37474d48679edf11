// How a server of the command line begins and ends: in the foreground and the background, with clients and without, by signals. Where
// qemu-nbd does the same, both are asked.

import { existsSync, readFileSync, readlinkSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Command } from '../../src/wire/nbd/constants.js';
import { cliBundle, Workshop } from '../support/cli.js';
import {
  isAlive,
  listening,
  NbdProcess,
  nbdCommand,
  runNbd,
  SERVERS,
  type Server,
  until,
} from '../support/nbd-process.js';
import { RawClient } from '../support/nbd-raw.js';
import { requirePeer } from '../support/peers.js';

const SIZE = 1 << 20;

describe('nbd: beginning and end', () => {
  let shop: Workshop;
  let socket: string;
  let servers: NbdProcess[];
  let clients: RawClient[];
  /** Process in the background. */
  let background: number;

  before(function () {
    for (const peer of ['qemu-nbd', 'qemu-img', 'nbdinfo']) requirePeer(this, peer);
  });
  beforeEach(async () => {
    shop = await Workshop.open();
    socket = shop.path('socket');
    servers = [];
    clients = [];
    background = 0;
    writeFileSync(shop.path('a.raw'), '');
    truncateSync(shop.path('a.raw'), SIZE);
  });
  afterEach(async () => {
    for (const client of clients) client.close();
    for (const server of servers) await server.stop('SIGKILL');
    if (background !== 0 && isAlive(background)) process.kill(background, 'SIGKILL');
    shop.remove();
  });

  const start = async (server: Server, ...args: string[]): Promise<NbdProcess> => {
    const started = await NbdProcess.start(server, socket, args, shop.folder);
    servers.push(started);
    return started;
  };
  const connect = async (): Promise<RawClient> => {
    const client = await RawClient.connect(socket);
    clients.push(client);
    return client;
  };
  const served = async (): Promise<RawClient> => {
    const client = await connect();
    await client.go('simple');
    return client;
  };

  for (const server of SERVERS) {
    describe(server, () => {
      it('ends when the last client has left, and not with one that never came to the export', async () => {
        const running = await start(server, '-e', '3', '-f', 'raw', 'a.raw');
        const stranger = await connect();
        await stranger.greet();
        stranger.close();
        const [a, b] = [await served(), await served()];
        a.close();
        for (let i = 0; i < 50; i++) expect(await b.readData(0, 512)).to.deep.equal(Buffer.alloc(512));
        // There is still a way in.
        (await served()).close();
        expect(await b.readData(0, 512)).to.deep.equal(Buffer.alloc(512));
        b.close();
        expect(await running.end()).to.equal(0);
        expect(existsSync(socket)).to.equal(false);
      });

      it('goes on with -t', async () => {
        const running = await start(server, '-t', '-f', 'raw', 'a.raw');
        for (let i = 0; i < 3; i++) {
          const client = await served();
          client.request({ command: Command.disconnect });
          await client.rest();
        }
        expect(running.running).to.equal(true);
        expect(await running.stop()).to.equal(0);
      });

      for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
        it(`ends with 0 by ${signal}, everything written and the socket gone`, async () => {
          shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'b.qcow2', '4M');
          const running = await start(server, '-t', '-f', 'qcow2', 'b.qcow2');
          const client = await served();
          const payload = Buffer.alloc(65536, 0x5a);
          expect(await client.command({ command: Command.write, offset: 1 << 20, payload })).to.equal(0);
          expect(await running.stop(signal)).to.equal(0);
          expect(existsSync(socket)).to.equal(false);
          shop.must('qemu-img', 'check', '-q', 'b.qcow2');
          shop.must('qemu-img', 'convert', '-O', 'raw', 'b.qcow2', 'b.raw');
          expect(
            readFileSync(shop.path('b.raw'))
              .subarray(1 << 20, (1 << 20) + 65536)
              .equals(payload),
          ).to.equal(true);
        });
      }

      it('ends at once where clients are idle and keep their connections', async () => {
        const running = await start(server, '-t', '-f', 'raw', 'a.raw');
        const client = await served();
        // It reads nothing more, so it does not learn that the server has ended.
        client.socket.pause();
        const begun = performance.now();
        expect(await running.stop()).to.equal(0);
        expect(performance.now() - begun).to.be.below(2000);
      });

      for (const limit of [1, 2]) {
        it(`lets ${limit} in at a time with -e ${limit}; the next waits`, async () => {
          await start(server, '-t', '-e', String(limit), '-f', 'raw', 'a.raw');
          const inside: RawClient[] = [];
          for (let i = 0; i < limit; i++) inside.push(await served());
          const next = await connect();
          let entered = false;
          // qemu-nbd does not even greet it; we do, so that it may list exports meanwhile.
          const turn = next.go('simple').then(() => {
            entered = true;
          });
          for (let i = 0; i < 50; i++) await inside[0].readData(0, 512);
          expect(entered).to.equal(false);
          inside[0].close();
          await turn;
        });
      }

      it('lets any number in with -e 0', async () => {
        await start(server, '-t', '-e', '0', '-f', 'raw', 'a.raw');
        for (let i = 0; i < 20; i++) await served();
        for (const client of clients) await client.readData(0, 512);
      });

      it('writes its process number to --pid-file, and holds the file', async () => {
        const pidFile = shop.path('pid');
        const running = await start(server, '-t', '-r', '-f', 'raw', '--pid-file', pidFile, 'a.raw');
        // qemu-nbd listens before it writes the file.
        await until('the file is written', () => existsSync(pidFile) && readFileSync(pidFile, 'utf8') !== '');
        expect(readFileSync(pidFile, 'utf8')).to.equal(`${running.pid}\n`);
        expect(statSync(pidFile).mode & 0o777).to.equal(0o600);
        const words = ['-r', '-f', 'raw', '-k', `${socket}2`, '--pid-file', pidFile, 'a.raw'];
        const second = runNbd(await nbdCommand(server), words, shop.folder);
        expect(second.code).to.equal(1);
        expect(second.stderr).to.include('Cannot lock pid file: Resource temporarily unavailable');
        expect(await running.stop()).to.equal(0);
        expect(existsSync(pidFile)).to.equal(true);
      });

      it('goes on in the background with --fork, once the socket is there', async () => {
        const words = ['--fork', '-t', '-k', socket, '--pid-file', shop.path('pid'), '-f', 'raw', 'a.raw'];
        const outcome = runNbd(await nbdCommand(server), words, shop.folder);
        background = Number(readFileSync(shop.path('pid'), 'utf8'));
        expect(outcome).to.deep.equal({ code: 0, stdout: '', stderr: '' });
        expect(shop.must('nbdinfo', '--size', `nbd+unix:///?socket=${socket}`).trim()).to.equal(String(SIZE));
        expect(readlinkSync(`/proc/${background}/cwd`)).to.equal('/');
        expect([0, 1, 2].map((fd) => readlinkSync(`/proc/${background}/fd/${fd}`))).to.deep.equal(
          Array(3).fill('/dev/null'),
        );
        process.kill(background);
        await until('it has ended', () => !isAlive(background));
        expect(existsSync(socket)).to.equal(false);
      });
    });
  }

  it('passes on with --fork what is said before it goes to the background', async () => {
    // qemu-nbd 7.2 ends with 1 then, though it serves.
    const words = ['--fork', '-t', '-k', socket, '--pid-file', shop.path('pid'), 'a.raw'];
    const { code, stdout, stderr } = runNbd(await nbdCommand('diskwright'), words, shop.folder);
    background = Number(readFileSync(shop.path('pid'), 'utf8'));
    expect({ code, stdout }).to.deep.equal({ code: 0, stdout: '' });
    expect(stderr).to.match(/^WARNING: Image format was not specified for 'a.raw' and probing guessed raw.\n/);
  });

  it('says with -v where it listens, who comes and who leaves', async () => {
    const running = await start('diskwright', '-v', '-f', 'raw', 'a.raw');
    const peer = `unix:${socket}`;
    await running.said(/: left without having chosen the export\n/);
    (await served()).close();
    expect(await running.end()).to.equal(0);
    expect(running.stderr.split('\n')).to.deep.equal([
      `diskwright: serving 'a.raw' at ${peer}`,
      `diskwright: ${peer}: left without having chosen the export`,
      `diskwright: ${peer}: connected`,
      `diskwright: ${peer}: left`,
      '',
    ]);
  });

  it('takes a free port with -p 0, and says which', async () => {
    const running = await NbdProcess.launch('diskwright', ['-v', '-p', '0', '-b', '127.0.0.1', 'a.raw'], shop.folder);
    servers.push(running);
    await running.said(/^diskwright: serving 'a.raw' at 127\.0\.0\.1:\d+$/m);
    const port = /127\.0\.0\.1:(\d+)$/m.exec(running.stderr)?.[1];
    expect(shop.must('nbdinfo', '--size', `nbd://127.0.0.1:${port}`).trim()).to.equal(String(SIZE));
    expect(await running.end()).to.equal(0);
  });

  it('drops a client that says nothing for --handshake-limit seconds', async () => {
    await start('diskwright', '-t', '--handshake-limit=1', '-f', 'raw', 'a.raw');
    const silent = await connect();
    expect((await silent.rest()).length).to.equal(18);
  });

  it('waits for ever with --handshake-limit=0', async () => {
    await start('diskwright', '-t', '--handshake-limit=0', '-f', 'raw', 'a.raw');
    expect(shop.must('nbdinfo', '--size', `nbd+unix:///?socket=${socket}`).trim()).to.equal(String(SIZE));
  });

  it('replaces a socket file that is left over', async () => {
    const killed = await start('diskwright', '-t', '-r', '-f', 'raw', 'a.raw');
    await killed.stop('SIGKILL');
    expect(existsSync(socket)).to.equal(true);
    await start('diskwright', '-t', '-r', '-f', 'raw', 'a.raw');
  });

  it('keeps a second writer out, and lets readers in', async () => {
    const command = await nbdCommand('diskwright');
    await start('diskwright', '-t', '-f', 'raw', 'a.raw');
    const { code, stderr } = runNbd(command, ['-k', `${socket}2`, '-f', 'raw', 'a.raw'], shop.folder);
    expect(code).to.equal(1);
    expect(stderr).to.include('Failed to get');
    expect(stderr).to.include('lock\nIs another process using the image [a.raw]?');
  });

  it('is qemu-nbd where it is called by that name', async () => {
    symlinkSync(await cliBundle(), shop.path('qemu-nbd'));
    const qemuNbd = { program: shop.path('qemu-nbd'), words: [] };
    expect(runNbd(qemuNbd, ['-z'], shop.folder)).to.deep.equal({
      code: 1,
      stdout: '',
      stderr: "qemu-nbd: invalid option -- 'z'\nTry 'qemu-nbd --help' for more information\n",
    });
    expect(runNbd(qemuNbd, ['--help'], shop.folder).stdout).to.match(/^usage: qemu-nbd \[/);
    expect(runNbd(qemuNbd, ['--help'], shop.folder).stdout).to.not.include('diskwright nbd');
    expect(runNbd(qemuNbd, ['-V'], shop.folder).stdout).to.match(/^qemu-nbd \d+\.\d+\.\d+ \(Diskwright\)\n/);
    const words = ['--fork', '-k', socket, '--pid-file', shop.path('pid'), '-f', 'raw', 'a.raw'];
    expect(runNbd(qemuNbd, words, shop.folder)).to.deep.equal({ code: 0, stdout: '', stderr: '' });
    background = Number(readFileSync(shop.path('pid'), 'utf8'));
    await listening(socket);
    (await served()).close();
    await until('it has ended', () => !isAlive(background));
  });
});
