// What is served: each option about the image, with real clients, and beside qemu-nbd's answer to the same command line.

import {
  chmodSync,
  copyFileSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { expect } from 'chai';
import { openRealHost } from '../../src/host/real/index.js';
import { Command, CommandFlag } from '../../src/wire/nbd/constants.js';
import { Workshop } from '../support/cli.js';
import {
  isAlive,
  type NbdCommand,
  NbdProcess,
  nbdCommand,
  runNbd,
  SERVERS,
  type Server,
  until,
} from '../support/nbd-process.js';
import { RawClient } from '../support/nbd-raw.js';
import { requirePeer } from '../support/peers.js';

const MIB = 1 << 20;

type Json = Record<string, unknown>;

/** What this machine can: where io_uring is forbidden, it is refused. */
const AIO_MODES = hasRing() ? ['threads', 'io_uring', 'native'] : ['threads'];

describe('nbd: what is served', () => {
  let shop: Workshop;
  let socket: string;
  let servers: NbdProcess[];

  before(async function () {
    for (const peer of ['qemu-nbd', 'qemu-img', 'qemu-io', 'nbdinfo', 'nbdcopy']) requirePeer(this, peer);
    shop = await Workshop.open();
    socket = shop.path('socket');
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'base.qcow2', '8M');
    shop.qemuIo('base.qcow2', 'write -P 1 0 1M', 'write -P 2 4M 1M');
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', 'top.qcow2');
    shop.qemuIo('top.qcow2', 'write -P 3 1M 1M');
    copyFileSync(shop.path('top.qcow2'), shop.path('marked.qcow2'));
    for (const name of ['nightly', 'weekly']) shop.must('qemu-img', 'bitmap', '--add', 'marked.qcow2', name);
    shop.qemuIo('marked.qcow2', 'write -P 4 2M 128k');
    writeFileSync(shop.path('disk.raw'), Buffer.alloc(2 * MIB, 0xaa));
  });
  beforeEach(() => {
    servers = [];
  });
  afterEach(async () => {
    for (const server of servers) await server.stop('SIGKILL');
  });

  it('an internal snapshot, by its ID or name, read-only; or under a temporary overlay', async () => {
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'states.qcow2', '1M');
    shop.qemuIo('states.qcow2', 'write -P 1 0 1M');
    shop.must('qemu-img', 'snapshot', '-c', 'before', 'states.qcow2');
    shop.qemuIo('states.qcow2', 'write -P 2 0 1M');
    for (const [param, ...more] of [['1'], ['before'], ['snapshot.id=1,snapshot.name=before'], ['before', '-s']]) {
      const args = ['-k', socket, '-t', '-f', 'qcow2', '-l', param, ...more, 'states.qcow2'];
      const server = await NbdProcess.start('diskwright', socket, args, shop.folder);
      servers.push(server);
      const writes = more.length > 0;
      const commands = ['read -P 1 0 1M', ...(writes ? ['write -P 3 0 512', 'read -P 3 0 512'] : [])];
      const words = [...(writes ? [] : ['-r']), '-f', 'raw', ...commands.flatMap((one) => ['-c', one])];
      shop.must('qemu-io', ...words, `nbd+unix:///?socket=${socket}`);
      if (!writes) expect(shop.must('nbdinfo', `nbd+unix:///?socket=${socket}`)).to.match(/is_read_only: true/);
      await server.stop('SIGTERM');
    }
    for (const args of [
      ['-l', 'nope'],
      ['-l', 'snapshot.id=9'],
      ['-l', 'snapshot.foo=1'],
      ['-f', 'raw', '-l', '1'],
    ]) {
      const [ours, theirs] = await Promise.all(
        SERVERS.map(async (one) => {
          const { code, stderr } = runNbd(await nbdCommand(one), ['-k', socket, ...args, 'states.qcow2'], shop.folder);
          return { code, stderr: stderr.replaceAll(/^[a-z -]+: /gm, '') };
        }),
      );
      expect(ours, args.join(' ')).to.deep.equal(theirs);
    }
  });
  after(() => shop?.remove());

  const start = async (server: Server, ...args: string[]): Promise<NbdProcess> => {
    const started = await NbdProcess.start(server, socket, args, shop.folder);
    servers.push(started);
    return started;
  };
  const io = ({ uri }: NbdProcess, ...commands: string[]): void => {
    shop.must('qemu-io', '-f', 'raw', ...commands.flatMap((command) => ['-c', command]), uri);
  };

  describe('as nbdinfo sees it, is what qemu-nbd serves', () => {
    /** What differs from qemu-nbd 7.2, and why. */
    const BETTER: Json = {
      // Several writers see each other's writes at once; QEMU says so from version 8 on.
      can_multi_conn: true,
      // Whatever is read-only there is no writing to be fast at.
      can_fast_zero: false,
    };
    const LINES: readonly string[] = [
      '-f qcow2 top.qcow2',
      '-f qcow2 -r top.qcow2',
      '-f qcow2 -r -e 3 top.qcow2',
      '-f qcow2 -e 0 top.qcow2',
      '-f qcow2 -x disk -D Description top.qcow2',
      '-f qcow2 -A top.qcow2',
      '-f qcow2 -r -B nightly marked.qcow2',
      '-f qcow2 -r -A -B nightly -B weekly marked.qcow2',
      '-f qcow2 -s -B weekly marked.qcow2',
      '-f qcow2 -s top.qcow2',
      '-f qcow2 -s -r top.qcow2',
      '-f qcow2 -o 4096 top.qcow2',
      '-f raw -o 0x1000 disk.raw',
      '-f raw --cache=none disk.raw',
      ...(hasRing() ? ['-f raw -n --aio=native disk.raw'] : []),
      '-f raw --discard=unmap --detect-zeroes=unmap disk.raw',
      '--image-opts driver=qcow2,file.driver=file,file.filename=top.qcow2',
      '-r --image-opts driver=raw,offset=1M,size=64k,file.filename=disk.raw',
    ];
    for (const line of LINES) {
      it(`nbd ${line}`, async () => {
        const found: Json[] = [];
        for (const server of SERVERS) {
          const running = await start(server, '-t', ...line.split(' '));
          found.push(JSON.parse(shop.must('nbdinfo', '--list', '--json', running.uri)) as Json);
          await running.stop();
        }
        const [ours, theirs] = found.map((json) => exportOf(json));
        for (const key of ['can_multi_conn', 'can_fast_zero']) {
          if (ours[key] !== theirs[key]) expect(ours[key], key).to.equal(BETTER[key]);
          delete ours[key];
          delete theirs[key];
        }
        expect(ours).to.deep.equal(theirs);
      });
    }
  });

  describe('the content', () => {
    it('of a whole chain, to nbdcopy', async () => {
      const running = await start('diskwright', '-r', '-e', '0', '-f', 'qcow2', 'top.qcow2');
      shop.must('nbdcopy', running.uri, 'copy.raw');
      expect(await running.end()).to.equal(0);
      shop.must('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', 'copy.raw', 'top.qcow2');
    });

    it('with --offset begins there, to its end', async () => {
      const running = await start('diskwright', '-o', '4096', '-f', 'raw', 'disk.raw');
      io(running, 'write -P 7 0 4k', 'read -P 0xaa 4k 4k');
      await running.end();
      const bytes = readFileSync(shop.path('disk.raw'));
      expect(bytes.subarray(4096, 8192).equals(Buffer.alloc(4096, 7))).to.equal(true);
      expect(bytes.length).to.equal(2 * MIB);
      writeFileSync(shop.path('disk.raw'), Buffer.alloc(2 * MIB, 0xaa));
    });

    for (const aio of AIO_MODES) {
      for (const cache of ['none', 'writeback', 'writethrough', 'directsync', 'unsafe']) {
        if (aio === 'native' && cache !== 'none' && cache !== 'directsync') continue;
        it(`survives --aio=${aio} --cache=${cache}`, async () => {
          const words = [`--aio=${aio}`, `--cache=${cache}`, '-f', 'qcow2', 'cached.qcow2'];
          shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'cached.qcow2', '8M');
          const running = await start('diskwright', ...words);
          const direct = readdirSync(`/proc/${running.pid}/fd`).some((fd) => isDirect(running.pid, fd, 'cached.qcow2'));
          expect(direct).to.equal(cache === 'none' || cache === 'directsync');
          io(running, 'write -P 5 1M 1M', 'write -P 6 1000 100', 'flush', 'read -P 5 1M 1M', 'read -P 6 1000 100');
          expect(await running.end()).to.equal(0);
          shop.qemuIo('cached.qcow2', 'read -P 5 1M 1M', 'read -P 6 1000 100');
        });
      }
    }
  });

  describe('--snapshot', () => {
    it('takes writes, and forgets them; nothing is left in the temporary folder', async () => {
      const before = readFileSync(shop.path('top.qcow2'));
      const running = await start('diskwright', '-s', '-f', 'qcow2', 'top.qcow2');
      const files = readdirSync(`/proc/${running.pid}/fd`).map((fd) => linkOf(running.pid, fd));
      const overlay = files.find((file) => file.endsWith('overlay.qcow2 (deleted)')) ?? 'none';
      expect(overlay).to.match(/\/diskwright-\w+\/overlay\.qcow2 \(deleted\)$/);
      expect(() => statSync(overlay.slice(0, overlay.lastIndexOf('/')))).to.throw('ENOENT');
      io(running, 'write -P 9 0 2M', 'read -P 9 0 2M', 'read -P 2 4M 1M');
      expect(await running.end()).to.equal(0);
      expect(readFileSync(shop.path('top.qcow2')).equals(before)).to.equal(true);
    });

    it('uses TMPDIR, and says where it could not', async () => {
      const { program, words } = await nbdCommand('diskwright');
      const command = { program: 'env', words: ['TMPDIR=/nowhere', program, ...words] };
      const { code, stderr } = runNbd(command, ['-s', '-k', socket, '-f', 'raw', 'disk.raw'], shop.folder);
      expect(code).to.equal(1);
      expect(stderr).to.equal(
        "diskwright: Could not create a temporary overlay in '/nowhere': No such file or directory\n",
      );
    });
  });

  describe('a file that may only be read', () => {
    /** Nothing is read-only to root, who is given less than that. */
    const humble = (command: NbdCommand): NbdCommand =>
      process.getuid?.() !== 0
        ? command
        : { program: 'setpriv', words: ['--bounding-set=-dac_override', command.program, ...command.words] };
    for (const server of SERVERS) {
      it(`needs -r or -s of ${server}`, async () => {
        copyFileSync(shop.path('disk.raw'), shop.path('ro.raw'));
        chmodSync(shop.path('ro.raw'), 0o400);
        const command = humble(await nbdCommand(server));
        const words = ['-k', socket, '-f', 'raw', 'ro.raw'];
        const refused = runNbd(command, words, shop.folder);
        expect(refused.code).to.equal(1);
        const why = "Could not open 'ro.raw': Permission denied";
        expect(refused.stderr).to.include(why);
        for (const option of ['-r', '-s']) {
          const pidFile = shop.path('pid');
          const outcome = runNbd(command, [option, '--fork', '-t', '--pid-file', pidFile, ...words], shop.folder);
          expect(outcome).to.deep.equal({ code: 0, stdout: '', stderr: '' });
          const pid = Number(readFileSync(pidFile, 'utf8'));
          // qemu-nbd does not hear signals before it serves.
          shop.must('nbdinfo', '--size', `nbd+unix:///?socket=${socket}`);
          process.kill(pid);
          await until('it has ended', () => !isAlive(pid));
        }
      });
    }
  });

  for (const [options, command] of [
    ['--discard=ignore', 'discard 0 1M'],
    ['--discard=off', 'discard 0 1M'],
    ['--discard=unmap', 'discard 0 1M'],
    ['--discard=on', 'discard 0 1M'],
    ['--discard=unmap --detect-zeroes=off', 'write -P 0 0 1M'],
    ['--discard=unmap --detect-zeroes=on', 'write -P 0 0 1M'],
    ['--discard=unmap --detect-zeroes=unmap', 'write -P 0 0 1M'],
  ]) {
    it(`${options}, then ${command}: the image is mapped as by qemu-nbd`, async () => {
      const maps: string[] = [];
      for (const server of SERVERS) {
        copyFileSync(shop.path('base.qcow2'), shop.path('trim.qcow2'));
        const running = await start(server, ...options.split(' '), '-f', 'qcow2', 'trim.qcow2');
        io(running, command);
        expect(await running.end()).to.equal(0);
        maps.push(shop.must('qemu-img', 'map', '--output=json', 'trim.qcow2'));
      }
      expect(maps[0]).to.equal(maps[1]);
    });
  }

  it('-A and -B: depths and bitmaps read as from qemu-nbd', async () => {
    const maps: string[][] = [];
    for (const server of SERVERS) {
      const running = await start(server, '-t', '-r', '-A', '-B', 'nightly', '-f', 'qcow2', 'marked.qcow2');
      const contexts = ['base:allocation', 'qemu:allocation-depth', 'qemu:dirty-bitmap:nightly'];
      maps.push(contexts.map((context) => shop.must('nbdinfo', `--map=${context}`, running.uri)));
      await running.stop();
    }
    expect(maps[0]).to.deep.equal(maps[1]);
    expect(maps[0][2]).to.match(/^ +2097152 +131072 +1 /m);
  });

  it('-r answers a write with EPERM, and never writes', async () => {
    const before = readFileSync(shop.path('disk.raw'));
    await start('diskwright', '-r', '-f', 'raw', 'disk.raw');
    const client = await RawClient.connect(socket);
    await client.go('structured');
    expect(
      await client.command({ command: Command.write, flags: CommandFlag.fua, payload: Buffer.alloc(512) }),
    ).to.equal(1);
    client.close();
    expect(readFileSync(shop.path('disk.raw')).equals(before)).to.equal(true);
  });

  it('probes the format where none is named, and protects the first sector of a raw image', async () => {
    truncateSync(shop.path('disk.raw'), 2 * MIB);
    const running = await start('diskwright', 'disk.raw');
    const client = await RawClient.connect(socket);
    await client.go('simple');
    const payload = Buffer.alloc(512);
    // A qcow2 header: whoever probed the image next would believe it.
    payload.write('QFI\xfb\0\0\0\x03', 'latin1');
    expect(await client.command({ command: Command.write, payload })).to.not.equal(0);
    client.close();
    await running.end();
    expect(running.stderr).to.match(/^WARNING: Image format was not specified for 'disk.raw' and probing guessed raw/);
  });
});

/** The one export. The order of its contexts means nothing: QEMU turns that of the bitmaps around. */
function exportOf(json: Json): Json {
  const [one, ...others] = json['exports'] as Json[];
  expect(others).to.deep.equal([]);
  (one['contexts'] as string[]).sort();
  return { ...one, protocol: json['protocol'], structured: json['structured'] };
}

function linkOf(pid: number, fd: string): string {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`);
  } catch {
    return '';
  }
}

/** Is the descriptor one of the file, opened with O_DIRECT? */
function isDirect(pid: number, fd: string, name: string): boolean {
  if (!linkOf(pid, fd).endsWith(`/${name}`)) return false;
  const flags = /^flags:\s+0?(\d+)/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))?.[1] ?? '0';
  return (Number.parseInt(flags, 8) & 0o40000) !== 0;
}

function hasRing(): boolean {
  try {
    void openRealHost({ engine: 'io_uring' }).close();
    return true;
  } catch {
    return false;
  }
}
