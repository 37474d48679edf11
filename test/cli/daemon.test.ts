// `diskwright daemon` as a process, and qemu-storage-daemon beside it: command line, monitor, signals, what is left behind.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { expect } from 'chai';
import { run, Workshop } from '../support/cli.js';
import { isAlive, until } from '../support/nbd-process.js';
import { requirePeer } from '../support/peers.js';
import { connected, type Json, StorageDaemon } from '../support/qmp.js';

const DAEMONS = ['diskwright', 'qemu-storage-daemon'] as const;

describe('daemon', () => {
  let shop: Workshop;
  let running: StorageDaemon | null;

  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-img', 'qemu-io']) requirePeer(this, peer);
  });
  beforeEach(async () => {
    shop = await Workshop.open();
    running = null;
    shop.qemuImg('create', '-q', '-f', 'qcow2', 'a.qcow2', '1M');
    run('qemu-io', ['-c', 'write -P 7 64k 128k', 'a.qcow2'], shop.folder);
  });
  afterEach(() => {
    running?.kill();
    shop.remove();
  });

  const program = (name: (typeof DAEMONS)[number]): string[] =>
    name === 'diskwright' ? [process.execPath, shop.bundle, 'daemon'] : [name];
  const start = async (name: (typeof DAEMONS)[number], ...words: string[]): Promise<StorageDaemon> => {
    running = await StorageDaemon.start(shop.path('qmp'), words, program(name));
    return running;
  };
  const image = (): string => `qcow2,node-name=a,file.driver=file,file.filename=${shop.path('a.qcow2')}`;
  const compare = (a: string, b: string): number | null => shop.qemuImg('compare', a, b).code;

  for (const name of DAEMONS) {
    describe(name, () => {
      it('stays where nothing asks anything of it, and ends in order at a signal', async () => {
        const [command, ...words] = program(name);
        run(command, [...words, '--daemonize', '--pidfile', 'pid'], shop.folder);
        const pid = Number(readFileSync(shop.path('pid'), 'utf8'));
        expect(isAlive(pid)).to.equal(true);
        for (const other of DAEMONS) {
          const [peer, ...its] = program(other);
          const { code, stderr } = run(peer, [...its, '--pidfile', 'pid'], shop.folder);
          expect(code).to.equal(1);
          expect(stderr).to.match(/: cannot create PID file: Cannot lock pid file: Resource temporarily unavailable\n/);
        }
        process.kill(pid);
        await until('the process id file is gone', () => !existsSync(shop.path('pid')));
      });

      it('opens, serves and copies an image, and leaves nothing behind', async () => {
        const socket = shop.path('nbd');
        const daemon = await start(
          name,
          ...['--blockdev', image(), '--nbd-server', `addr.type=unix,addr.path=${socket}`],
          ...['--export', 'nbd,id=e,node-name=a,name=disk,writable=on'],
        );
        const uri = `nbd+unix:///disk?socket=${socket}`;
        expect(shop.qemuImg('info', '--output=json', uri).stdout).to.match(/"virtual-size": 1048576/);
        run('qemu-io', ['-f', 'raw', '-c', 'write -P 9 0 64k', uri], shop.folder);
        shop.qemuImg('create', '-q', '-f', 'qcow2', 'b.qcow2', '1M');
        const target = { driver: 'file', filename: shop.path('b.qcow2') };
        await daemon.execute('blockdev-add', { driver: 'qcow2', 'node-name': 'b', file: target });
        await daemon.job('blockdev-mirror', { 'job-id': 'copy', device: 'a', target: 'b', sync: 'full' });
        await daemon.execute('block-export-del', { id: 'e' });
        expect(await daemon.event('BLOCK_EXPORT_DELETED')).to.deep.equal({ id: 'e' });
        await daemon.quit();
        expect(await daemon.end()).to.equal(0);
        const left = ['qmp', 'qmp.pid', 'nbd'].filter((file) => existsSync(shop.path(file)));
        expect(left).to.deep.equal(name === 'diskwright' ? [] : ['nbd']);
        expect(compare('a.qcow2', 'b.qcow2')).to.equal(0);
        expect(shop.qemuImg('check', 'a.qcow2').code).to.equal(0);
      });

      for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
        it(`ends in order at ${signal}, a job under way or not`, async () => {
          const daemon = await start(name, '--blockdev', image());
          shop.qemuImg('create', '-q', '-f', 'raw', 'b.raw', '1M');
          await daemon.execute('blockdev-add', { driver: 'file', 'node-name': 'b', filename: shop.path('b.raw') });
          const words: Json = { 'job-id': 'copy', device: 'a', target: 'b', sync: 'full', speed: 65536 };
          await daemon.execute('blockdev-backup', words);
          daemon.signal(signal);
          expect(await daemon.end()).to.equal(0);
          expect(existsSync(shop.path('qmp.pid'))).to.equal(false);
          expect(shop.qemuImg('check', 'a.qcow2').code).to.equal(0);
        });
      }

      it('speaks at standard input and output', () => {
        const [command, ...words] = program(name);
        const { stdout, status } = spawnSync(command, [...words, '--chardev', 'stdio,id=c', '--monitor', 'c'], {
          input: '{"execute":"qmp_capabilities"}{"execute":"query-jobs","id":7}{"execute":"quit"}',
          encoding: 'utf8',
        });
        const lines = stdout.trim().split('\r\n');
        expect(lines.slice(1)).to.deep.equal(['{"return": {}}', '{"return": [], "id": 7}', '{"return": {}}']);
        expect(Object.keys(JSON.parse(lines[0]) as object)).to.deep.equal(['QMP']);
        expect(status).to.equal(0);
      });

      it('goes on when its first client has come, where that is wanted', async () => {
        const [command, ...words] = program(name);
        const monitor = ['--chardev', `socket,id=c,path=${shop.path('qmp')},server=on`, '--monitor', 'c'];
        const child = spawn(command, [...words, ...monitor, '--pidfile', shop.path('pid')], { stdio: 'ignore' });
        try {
          await until('it listens', () => existsSync(shop.path('qmp')));
          expect(existsSync(shop.path('pid'))).to.equal(false);
          const client = await connected(shop.path('qmp'));
          await until('it is ready', () => existsSync(shop.path('pid')) && readFileSync(shop.path('pid')).length > 0);
          client.destroy();
        } finally {
          child.kill('SIGKILL');
        }
      });

      it('says that it waits for its first client', async () => {
        const [command, ...words] = program(name);
        const monitor = ['--chardev', `socket,id=c,path=${shop.path('qmp')},server=on`, '--monitor', 'c'];
        const child = spawn(command, [...words, ...monitor], { stdio: ['ignore', 'ignore', 'pipe'] });
        let said = '';
        child.stderr?.setEncoding('utf8').on('data', (text: string) => {
          said += text;
        });
        const where = `disconnected:unix:${shop.path('qmp')},server=on`;
        try {
          await until('it says so', () => said.endsWith(`info: QEMU waiting for connection on: ${where}\n`));
        } finally {
          child.kill('SIGKILL');
        }
      });

      it('is not sent to the background with standard input and output', () => {
        const [command, ...words] = program(name);
        const options = { input: '', encoding: 'utf8' } as const;
        const { status, stderr } = spawnSync(command, [...words, '--daemonize', '--chardev', 'stdio,id=c'], options);
        expect(status).to.equal(1);
        expect(stderr).to.match(/: --chardev stdio,id=c: cannot use stdio with -daemonize\n$/);
      });

      it('says where a pseudo terminal is', () => {
        const [command, ...words] = program(name);
        const { stdout } = spawnSync(command, [...words, '--chardev', 'pty,id=p', '--monitor', 'none'], {
          encoding: 'utf8',
        });
        expect(stdout).to.match(/^char device redirected to \/dev\/pts\/\d+ \(label p\)\n$/);
      });

      it('carries out its command line before the first command', () => {
        const [command, ...words] = program(name);
        const monitor = ['--chardev', 'stdio,id=c', '--monitor', 'c'];
        const { stdout } = spawnSync(command, [...words, ...monitor, '--blockdev', image()], {
          input:
            '{"execute":"qmp_capabilities"}{"execute":"blockdev-del","arguments":{"node-name":"a"}}{"execute":"quit"}',
          encoding: 'utf8',
        });
        expect(stdout.trim().split('\r\n').slice(1)).to.deep.equal(Array(3).fill('{"return": {}}'));
      });

      it('goes to the background, and answers there', async () => {
        const [command, ...words] = program(name);
        const monitor = ['--chardev', `socket,id=c,path=${shop.path('qmp')},server=on,wait=off`, '--monitor', 'c'];
        const all = [...words, ...monitor, '--daemonize', '--pidfile', shop.path('pid')];
        expect(spawnSync(command, all, { stdio: 'ignore' }).status).to.equal(0);
        const pid = Number(readFileSync(shop.path('pid'), 'utf8'));
        try {
          const client = connect(shop.path('qmp'));
          let said = '';
          client.on('data', (bytes) => {
            said += bytes.toString();
          });
          client.write('{"execute":"qmp_capabilities"}{"execute":"quit"}');
          await until('it has answered', () => said.split('\r\n').length >= 4);
          await until('it has gone', () => !existsSync(`/proc/${pid}`) && !existsSync(shop.path('pid')));
        } finally {
          if (existsSync(`/proc/${pid}`)) process.kill(pid, 'SIGKILL');
        }
      });
    });
  }

  describe('says the same of what is wrong', () => {
    for (const words of [
      ['--blockdev', 'driver=file,node-name=a,filename=/none'],
      ['--blockdev', 'file'],
      ['--blockdev', 'driver=zz'],
      ['--blockdev', 'null-co'],
      ['--blockdev', '{"driver":"null-co","node-name":"a b"}'],
      ['--monitor', 'zz'],
      ['--chardev', 'stdio,id=c', '--chardev', 'stdio,id=d'],
      ['--export', 'nbd,id=x,node-name=a'],
      ['--export', 'zz'],
      ['--nbd-server', 'addr.type=unix'],
      ['--nbd-server', 'zz=1'],
      ['--object', 'secret'],
      ['--object', 'zz,id=a'],
      ['--pidfile', '/none/pid'],
      ['--blockdev', 'help'],
      ['--blockdev', '{'],
      ['--chardev', 'null'],
      ['--chardev', 'null,id=1n'],
      ['--chardev', 'id=c'],
      ['--chardev', 'zz,id=c'],
      ['--chardev', 'null,id=n', '--chardev', 'null,id=n'],
      ['--chardev', 'socket,id=c,host=127.0.0.1'],
      ['--chardev', 'socket,id=c,path=none'],
      ['--chardev', 'socket,id=c,path=none,wait=on'],
      ['--chardev', 'socket,id=c,path=none,reconnect=5,server=on'],
      ['--chardev', 'file,id=c'],
      ['--chardev', 'file,id=c,path=/none/out'],
      ['--chardev', 'pipe,id=c'],
      ['--chardev', 'pipe,id=c,path=/none'],
      ['--chardev', 'null,id=c,logfile=/none/log'],
      ['--chardev', 'ringbuf,id=c,size=10'],
      ['--chardev', 'ringbuf,id=c,size=zz'],
      ['--chardev', `socket,id=c,path=${'x'.repeat(120)},server=on,wait=off`],
      ['--chardev', 'socket,id=c,path=none/s,server=on,wait=off'],
      ['--chardev', 'socket,id=c,fd=99'],
      ['--chardev', 'null,id=c,zz=1'],
      ['--chardev', 'null,id=n', '--monitor', 'n,mode=readline'],
      ['--monitor', 'chardev=x,pretty=maybe'],
      ['--nbd-server', `addr.type=unix,addr.path=${'x'.repeat(120)}`],
      ['--nbd-server', 'addr.type=inet,addr.host=127.0.0.1,addr.port=zz'],
      ['--object', 'secret,help'],
      ['--object', 'throttle-group,help'],
      ['--object', 'authz-list,help'],
      ['--zz'],
      ['--blockdev'],
      ['arg'],
    ]) {
      it(words.join(' '), () => {
        const outcomes = DAEMONS.map((name) => {
          const [command, ...first] = program(name);
          const { code, stdout, stderr } = run(command, [...first, ...words], shop.folder);
          const [line] = stderr.replace(/^(diskwright daemon|diskwright|qemu-storage-daemon): /, '').split('\n');
          return { code, stdout, line };
        });
        expect(outcomes[0]).to.deep.equal(outcomes[1]);
      });
    }
  });

  it('says what a misspelt option may mean', () => {
    const [command, ...first] = program('diskwright');
    const { code, stderr } = run(command, [...first, '--blockdv', 'null-co'], shop.folder);
    expect(code).to.equal(1);
    expect(stderr.split('\n').slice(1, 2)).to.deep.equal(["Did you mean '--blockdev'?"]);
  });

  it('ends at a signal while it waits for its first client', async () => {
    const monitor = ['--chardev', `socket,id=c,path=${shop.path('qmp')},server=on`, '--monitor', 'c'];
    const words = [shop.bundle, 'daemon', ...monitor];
    const child = spawn(process.execPath, words, { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const ended = new Promise((resolve) => child.once('close', (code, signal) => resolve(code ?? signal)));
    await until('it waits', () => said.includes('\n'));
    child.kill('SIGTERM');
    expect(await ended).to.equal(0);
    expect(said).to.match(/^diskwright: info: QEMU waiting for connection on: [^\n]*\n$/);
  });

  it('lets several clients in at one socket', async () => {
    await start('diskwright');
    const other = connect(shop.path('qmp'));
    const greeting = await new Promise<Buffer>((resolve) => other.once('data', resolve));
    expect(greeting.toString()).to.match(/^\{"QMP": /);
    other.destroy();
    expect(await running?.execute('query-jobs')).to.deep.equal([]);
  });

  it('is qemu-storage-daemon by that name', () => {
    const link = shop.path('qemu-storage-daemon');
    spawnSync('ln', ['-sf', shop.bundle, link]);
    const { stderr, code } = run(link, ['--zz'], shop.folder);
    expect([code, stderr.split('\n')[0]]).to.deep.equal([1, "qemu-storage-daemon: unrecognized option '--zz'"]);
  });
});
