// `--list`: what is printed of any server is what qemu-nbd prints, and of a server that misbehaves, one error.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server as NetServer } from 'node:net';
import { expect } from 'chai';
import { cliBundle, type Outcome, Workshop } from '../support/cli.js';
import { listening, NbdProcess, nbdCommand } from '../support/nbd-process.js';
import { requirePeer } from '../support/peers.js';
import { u16, u32 } from '../support/wire-fields.js';

const GREETING = Buffer.concat([Buffer.from('NBDMAGICIHAVEOPT'), u16(3)]);
const EXTENDED_HEADERS = 11;
const LIST = 3;
const INFO = 6;

describe('nbd --list', () => {
  let shop: Workshop;
  let socket: string;
  let child: ChildProcess | null;
  let ours: NbdProcess | null;
  let fake: NetServer | null;

  before(async function () {
    for (const peer of ['qemu-nbd', 'nbdkit', 'qemu-storage-daemon']) requirePeer(this, peer);
    shop = await Workshop.open();
    socket = shop.path('socket');
    writeFileSync(shop.path('a.raw'), Buffer.alloc(1 << 20));
  });
  beforeEach(() => {
    child = null;
    ours = null;
    fake = null;
  });
  afterEach(async () => {
    if (child !== null && child.exitCode === null) {
      child.kill();
      await once(child, 'exit');
    }
    await ours?.stop();
    fake?.close();
    rmSync(socket, { force: true });
  });
  after(() => shop?.remove());

  /** Both answers, without stopping this process, which may be the server. */
  const list = async (...words: string[]): Promise<Outcome[]> => {
    const outcomes: Outcome[] = [];
    for (const server of ['diskwright', 'qemu-nbd'] as const) {
      const { program, words: first } = await nbdCommand(server);
      outcomes.push(await spawned(program, [...first, '-L', '-k', socket, ...words]));
    }
    outcomes[0].stderr = outcomes[0].stderr.replace(/^diskwright:/gm, 'qemu-nbd:');
    return outcomes;
  };
  const serve = async (program: string, ...words: string[]): Promise<void> => {
    child = spawn(program, words, { cwd: shop.folder, stdio: 'ignore' });
    await listening(socket);
  };

  for (const words of [
    'memory 1M',
    'null 0',
    '-r memory 1M',
    '--no-sr memory 1M',
    '--mask-handshake=0 memory 1M',
    '-e name memory 1M',
    '--filter=blocksize-policy memory 1M blocksize-minimum=4k blocksize-preferred=64k blocksize-maximum=1M',
  ]) {
    it(`of nbdkit ${words}`, async () => {
      await serve('nbdkit', '-f', '-U', socket, ...words.split(' '));
      const [got, expected] = await list();
      expect(got).to.deep.equal(expected);
    });
  }

  for (const words of [
    '',
    '--blockdev driver=file,node-name=f,filename=a.raw --export nbd,id=a,node-name=f,name=one --export nbd,id=b,node-name=f,name=two,description=hello',
  ]) {
    it(`of qemu-storage-daemon ${words}`, async () => {
      const own = words === '' ? [] : words.split(' ');
      await serve('qemu-storage-daemon', '--nbd-server', `addr.type=unix,addr.path=${socket}`, ...own);
      const [got, expected] = await list();
      expect(got).to.deep.equal(expected);
    });
  }

  it('of qemu-nbd, with everything', async () => {
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'b.qcow2', '1M');
    for (const name of ['one', 'two words']) shop.must('qemu-img', 'bitmap', '--add', 'b.qcow2', name);
    const bitmaps = ['-B', 'one', '-B', 'two words'];
    await serve('qemu-nbd', '-k', socket, '-r', '-t', '-A', ...bitmaps, '-x', 'näme x', '-D', 'text', 'b.qcow2');
    const [got, expected] = await list();
    expect(got).to.deep.equal(expected);
    expect(got.code).to.equal(0);
  });

  it('of our own: as qemu-nbd prints it, and that lengths have 64 bits', async () => {
    ours = await NbdProcess.start('diskwright', socket, ['-t', '-x', 'x', '-D', 'text', 'a.raw'], shop.folder);
    const [got, expected] = await list();
    expect(got.stdout).to.include('\n  transaction size: 64-bit\n');
    got.stdout = got.stdout.replace('  transaction size: 64-bit\n', '');
    // What is picked with each request comes with extended headers.
    got.stdout = got.stdout.replace(/flags: 0x1(\w+) (.*) block-status-payload \)/, 'flags: 0x$1 $2 )');
    expect(got).to.deep.equal(expected);
  });

  it('says with -v where it has connected to', async () => {
    await serve('nbdkit', '-f', '-U', socket, 'memory', '1M');
    const [got] = await list('-v');
    expect(got.stderr).to.equal(`qemu-nbd: connected to unix:${socket}\n`);
  });

  it('refuses a server of the old protocol, which qemu-nbd still lists', async () => {
    await serve('nbdkit', '-f', '-o', '-U', socket, 'memory', '1M');
    const [got] = await list();
    expect(got.code).to.equal(1);
    expect(got.stderr).to.include('the server speaks the old protocol without options, which is not supported');
  });

  describe('of a server that is none', () => {
    /** Sends `bytes` to whoever connects, then what `answer` makes of what comes. */
    const pretend = async (bytes: Buffer, answer?: (option: number) => Buffer | null): Promise<Outcome> => {
      fake = createServer((peer) => {
        peer.on('error', () => undefined);
        peer.write(bytes);
        let input = Buffer.alloc(0);
        let flags = true;
        peer.on('data', (chunk) => {
          input = Buffer.concat([input, chunk]);
          if (flags && input.length >= 4) {
            input = input.subarray(4);
            flags = false;
          }
          while (input.length >= 16 && input.length >= 16 + input.readUInt32BE(12)) {
            const reply = answer?.(input.readUInt32BE(8)) ?? null;
            if (reply === null) peer.end();
            else peer.write(reply);
            input = input.subarray(16 + input.readUInt32BE(12));
          }
        });
        if (answer === undefined) peer.end();
      }).listen(socket);
      await once(fake, 'listening');
      return spawned(process.execPath, [await cliBundle(), 'nbd', '-L', '-k', socket]);
    };
    const reply = (option: number, type: number, data: Buffer = Buffer.alloc(0), length = data.length): Buffer =>
      Buffer.concat([Buffer.from('0003e889045565a9', 'hex'), u32(option), u32(type), u32(length), data]);
    const fails = ({ code, stdout, stderr }: Outcome, message: string): void => {
      expect({ code, stdout, stderr }).to.deep.equal({ code: 1, stdout: '', stderr: `diskwright: ${message}\n` });
    };
    const listed = (data: Buffer) => (option: number) =>
      option === EXTENDED_HEADERS ? reply(option, 1) : option === LIST ? reply(option, 2, data) : null;

    it('which says nothing', async () => {
      fails(await pretend(Buffer.alloc(0)), 'the server closed the connection in the handshake');
    });
    it('which speaks another language', async () => {
      fails(await pretend(Buffer.from('SSH-2.0-OpenSSH_9.2p1 Debian\r\n')), 'not an NBD server: unexpected greeting');
    });
    it('which hangs up in the middle', async () => {
      fails(await pretend(GREETING, () => null), 'the server closed the connection in the handshake');
    });
    it('which answers with nonsense', async () => {
      fails(await pretend(GREETING, () => Buffer.alloc(20)), 'the server sends an invalid reply in the handshake');
    });
    it('which names an export that does not add up', async () => {
      fails(await pretend(GREETING, listed(u32(100))), 'the server sends a malformed entry of its list');
    });
    it('which sends too much at once', async () => {
      const message = 'the server sends 2147483647 bytes in one reply of the handshake';
      fails(await pretend(GREETING, (option) => reply(option, 1, Buffer.alloc(0), 0x7fffffff)), message);
    });
    it('which never ends its answer', async () => {
      const info = reply(INFO, 3, Buffer.concat([u16(99), u16(0)]));
      const one = Buffer.concat([reply(LIST, 2, Buffer.concat([u32(1), Buffer.from('x')])), reply(LIST, 1)]);
      const outcome = await pretend(GREETING, (option) => {
        if (option === LIST) return one;
        return option === INFO ? Buffer.concat(Array(2000).fill(info)) : reply(option, 1);
      });
      fails(outcome, 'the server does not end its answer after 1024 replies');
    });
    it('whose names would write to the terminal', async () => {
      const name = Buffer.from('\x1b[2Jx\ny');
      const one = Buffer.concat([reply(LIST, 2, Buffer.concat([u32(name.length), name])), reply(LIST, 1)]);
      const outcome = await pretend(GREETING, (option) => {
        if (option === LIST) return one;
        return reply(option, option === INFO ? 0x80000006 : 1);
      });
      expect(outcome).to.deep.equal({
        code: 0,
        stdout: "exports available: 1\n export: ' [2Jx y'\n  transaction size: 64-bit\n",
        stderr: '',
      });
    });
  });
});

async function spawned(program: string, words: readonly string[]): Promise<Outcome> {
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 30_000, killSignal: 'SIGKILL' });
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      said[name] += text;
    });
  }
  await once(child, 'close');
  return { code: child.exitCode, ...said };
}
