// Images that are mounted by `diskwright daemon`, and by qemu-storage-daemon beside it: the same commands, the same answers, the same file.

import { execFileSync, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { expect } from 'chai';
import { loadNative } from '../../../src/host/real/binding.js';
import { Workshop } from '../../support/cli.js';
import { requireFuse } from '../../support/fuse.js';
import { requirePeer } from '../../support/peers.js';
import { type Json, StorageDaemon } from '../../support/qmp.js';

const MIB = 1 << 20;
const OURS = 'diskwright';

/** What the action returns, or the system's name for its failure. */
function outcome<T>(action: () => T): T | string {
  try {
    return action();
  } catch (error) {
    return (error as NodeJS.ErrnoException).code as string;
  }
}

describe('FUSE: a mounted image, beside qemu-storage-daemon', () => {
  let shop: Workshop;
  let daemon: StorageDaemon | null;

  before(async function () {
    requirePeer(this, 'qemu-storage-daemon');
    await requireFuse(this);
  });
  beforeEach(async () => {
    shop = await Workshop.open();
    daemon = null;
    for (const name of ['m1', 'm2', 'm3']) fs.writeFileSync(shop.path(name), '');
  });
  afterEach(() => {
    daemon?.kill();
    for (const name of ['m1', 'm2', 'm3']) spawnSync('umount', ['-l', shop.path(name)], { stdio: 'ignore' });
    shop.remove();
  });

  function start(name: string, ...words: string[]): Promise<StorageDaemon> {
    const program = name === OURS ? [process.execPath, shop.bundle, 'daemon'] : [name];
    return StorageDaemon.start(shop.path('qmp'), words, program);
  }

  const raw = (node: string, file: string, more = '') => [
    '--blockdev',
    `raw,node-name=${node}${more},file.driver=file,file.filename=${file}`,
  ];

  function image(name: string, bytes: number): void {
    fs.writeFileSync(shop.path(name), '');
    fs.truncateSync(shop.path(name), bytes);
  }

  /** Fields of an answer that do not depend on the program. */
  async function add(one: StorageDaemon, options: Json): Promise<unknown> {
    const answer = await one.ask({ execute: 'block-export-add', arguments: { type: 'fuse', ...options } });
    return (answer['error'] as Json | undefined)?.['desc'] ?? answer;
  }

  /** The bytes and the attributes of a file, and what it refuses. */
  function explore(path: string): unknown[] {
    const seen: unknown[] = [];
    const note = (what: string, action: () => unknown) => seen.push([what, outcome(action)]);
    const info = fs.statSync(path);
    seen.push(['stat', info.mode.toString(8), info.size, info.nlink, info.uid, info.blksize]);
    note('O_TRUNC', () => {
      fs.closeSync(fs.openSync(path, 'r+'));
      fs.closeSync(fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_TRUNC));
      return fs.statSync(path).size;
    });
    const fd = fs.openSync(path, fs.constants.O_RDWR);
    const { size } = info;
    const bytes = Buffer.alloc(8192, 0x5a);
    const readBack = (at: number, length: number) => {
      const back = Buffer.alloc(length, 1);
      return [
        fs.readSync(fd, back, 0, length, at),
        back.toString('latin1').replace(/(.)\1*/gs, (run, one: string) => `${one.charCodeAt(0)}x${run.length} `),
      ];
    };
    note('write', () => [fs.writeSync(fd, bytes, 0, 5000, 4099), readBack(4096, 5010)]);
    note('over the end', () => [fs.writeSync(fd, bytes, 0, 8192, size - 4096), fs.fstatSync(fd).size]);
    note('behind the end', () => [
      fs.writeSync(fd, bytes, 0, 512, fs.fstatSync(fd).size + 4096),
      fs.fstatSync(fd).size,
    ]);
    note('read at the end', () => readBack(fs.fstatSync(fd).size - 10, 100));
    note('longer', () => [fs.ftruncateSync(fd, size + 131072), fs.fstatSync(fd).size]);
    note('shorter', () => [fs.ftruncateSync(fd, size), fs.fstatSync(fd).size]);
    for (const mode of ['', '-n', '-p', '-z', '-zn', '-c']) {
      for (const offset of [65536, size - 4096, size + 65536]) {
        const words = [
          ...(mode === '' ? [] : [...mode.slice(1)].map((letter) => `-${letter}`)),
          '-o',
          String(offset),
          '-l',
          '65536',
          path,
        ];
        note(`fallocate ${mode} at ${offset}`, () => [
          spawnSync('fallocate', words, { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } }).stderr.replace(
            path,
            'FILE',
          ),
          fs.fstatSync(fd).size,
        ]);
      }
    }
    for (const at of [0, 65536, 70000, size - 1]) note(`seek ${at}`, () => loadNative().seek(fd, at));
    note('fsync', () => fs.fsyncSync(fd));
    for (const mode of [0o644, 0o444, 0o600])
      note(`chmod ${mode}`, () => [fs.chmodSync(path, mode), fs.statSync(path).mode]);
    note('chown', () => [fs.chownSync(path, 1000, 1001), fs.statSync(path).uid, fs.statSync(path).gid]);
    note('utimes', () => fs.utimesSync(path, 1000, 1000));
    note('rename', () => fs.renameSync(path, `${path}x`));
    note('unlink', () => fs.unlinkSync(path));
    note('below it', () => fs.statSync(`${path}/x`));
    fs.closeSync(fd);
    return seen;
  }

  it('is the same file, writable, growable or only read, of raw and qcow2', async () => {
    const seen: unknown[] = [];
    for (const name of [OURS, 'qemu-storage-daemon']) {
      image('a.raw', 8 * MIB);
      image('b.raw', MIB);
      execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', shop.path('c.qcow2'), '4M']);
      const qcow2 = 'qcow2,node-name=c,discard=unmap,file.driver=file,file.filename=c.qcow2';
      daemon = await start(name, ...raw('a', 'a.raw'), ...raw('b', 'b.raw', ',read-only=on'), '--blockdev', qcow2);
      const added = [
        await add(daemon, {
          id: 'grows',
          'node-name': 'a',
          mountpoint: shop.path('m1'),
          writable: true,
          growable: true,
        }),
        await add(daemon, { id: 'read', 'node-name': 'b', mountpoint: shop.path('m2'), 'allow-other': 'off' }),
        await add(daemon, {
          id: 'fixed',
          'node-name': 'c',
          mountpoint: shop.path('m3'),
          writable: true,
          'allow-other': 'on',
        }),
      ];
      seen.push([added, ...['m1', 'm2', 'm3'].map((one) => explore(shop.path(one)))]);
      daemon.kill();
      for (const one of ['m1', 'm2', 'm3']) spawnSync('umount', ['-l', shop.path(one)]);
    }
    expect(seen[0]).to.deep.equal(seen[1]);
  });

  it('is refused in the same words', async () => {
    const seen: unknown[] = [];
    for (const name of [OURS, 'qemu-storage-daemon']) {
      image('a.raw', MIB);
      image('b.raw', MIB);
      fs.mkdirSync(shop.path('folder'), { recursive: true });
      daemon = await start(name, ...raw('a', 'a.raw'), ...raw('b', 'b.raw', ',read-only=on'));
      const one = { id: 'e', 'node-name': 'a' };
      const m1 = shop.path('m1');
      const answers = [
        await add(daemon, one),
        await add(daemon, { ...one, mountpoint: shop.path('nothing') }),
        await add(daemon, { ...one, mountpoint: shop.path('folder') }),
        await add(daemon, { ...one, mountpoint: '' }),
        await add(daemon, { ...one, mountpoint: m1, 'allow-other': 'maybe' }),
        await add(daemon, { ...one, id: '1', mountpoint: m1 }),
        await add(daemon, { id: 'e', 'node-name': 'b', mountpoint: m1, writable: true }),
        await add(daemon, { id: 'e', 'node-name': 'none', mountpoint: m1 }),
        await add(daemon, { ...one, mountpoint: m1, writable: true }),
        await add(daemon, { ...one, mountpoint: shop.path('m2') }),
        await add(daemon, { ...one, id: 'f', mountpoint: m1 }),
        await daemon.execute('query-block-exports'),
        await daemon.ask({ execute: 'blockdev-del', arguments: { 'node-name': 'a' } }),
        await daemon.ask({ execute: 'block-export-del', arguments: { id: 'e' } }),
        await daemon.event('BLOCK_EXPORT_DELETED'),
        await daemon.execute('query-block-exports'),
      ];
      seen.push(JSON.parse(JSON.stringify(answers), (_, value) => value));
      daemon.kill();
    }
    expect(seen[0]).to.deep.equal(seen[1]);
  });

  it('ends with the event where somebody unmounts it, once nobody has it open', async () => {
    image('a.raw', MIB);
    daemon = await start(OURS, ...raw('a', 'a.raw'));
    expect(await add(daemon, { id: 'e', 'node-name': 'a', mountpoint: shop.path('m1'), writable: true })).to.deep.equal(
      { return: {} },
    );
    const fd = fs.openSync(shop.path('m1'), 'r+');
    expect(spawnSync('umount', [shop.path('m1')]).status).to.not.equal(0);
    execFileSync('umount', ['-l', shop.path('m1')]);
    fs.writeSync(fd, 'late');
    expect(((await daemon.execute('query-block-exports')) as unknown[]).length).to.equal(1);
    fs.closeSync(fd);
    expect(await daemon.event('BLOCK_EXPORT_DELETED')).to.deep.equal({ id: 'e' });
    expect(fs.readFileSync(shop.path('a.raw')).subarray(0, 4).toString()).to.equal('late');
    await daemon.execute('blockdev-del', { 'node-name': 'a' });
  });

  it('leaves nothing mounted at its end, and takes a dead mount out of the way', async () => {
    image('a.raw', MIB);
    const exported = ['--export', `fuse,id=e,node-name=a,mountpoint=${shop.path('m1')},writable=on`];
    daemon = await start(OURS, ...raw('a', 'a.raw'), ...exported);
    daemon.signal('SIGKILL');
    await daemon.end();
    expect(outcome(() => fs.statSync(shop.path('m1')))).to.equal('ENOTCONN');
    daemon = await start(OURS, ...raw('a', 'a.raw'), ...exported);
    fs.writeFileSync(shop.path('m1'), 'after all', { flag: 'r+' });
    expect(fs.statSync(shop.path('m1')).size).to.equal(MIB);
    daemon.signal('SIGTERM');
    await daemon.end();
    expect(fs.readFileSync(shop.path('m1')).length).to.equal(0);
    expect(fs.readFileSync('/proc/self/mountinfo', 'utf8')).to.not.contain(shop.path('m1'));
    expect(fs.readFileSync(shop.path('a.raw')).subarray(0, 9).toString()).to.equal('after all');
  });
});
