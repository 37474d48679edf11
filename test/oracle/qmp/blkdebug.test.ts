// blkdebug against qemu-storage-daemon: how it is opened, what it is called, whom it keeps off, and, with qemu-io as a client of both, which requests
// fail.

import { writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../../support/cli.js';
import { requirePeer } from '../../support/peers.js';
import { type Json, StorageDaemon } from '../../support/qmp.js';
import { command, comparing, type Setup, type Step } from './runner.js';

const files: Setup['files'] = (shop, folder) => {
  shop.must('qemu-img', 'create', '-q', '-f', 'raw', `${folder}/a.raw`, '1M');
  shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', `${folder}/q.qcow2`, '1M');
  writeFileSync(`${folder}/rules`, '[inject-error]\nevent = "read_aio"\nerrno = "28"\n');
  writeFileSync(`${folder}/wrong`, '[inject-error]\nevent = "x"\n');
};

/** With members in the order of their names. */
function inOrder(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(members.map(([name, member]) => [name, inOrder(member)]));
}

/** QEMU writes the members of a name in the order of its hash table; and nodes are in the order of what is compared. */
function filter(text: string): string {
  const sorted = text.replace(/"json:((?:\\.|[^"\\])*)"/g, (_, json: string) => {
    return JSON.stringify(inOrder(JSON.parse(JSON.parse(`"${json}"`))));
  });
  const { return: nodes } = JSON.parse(sorted) as { return?: unknown };
  return Array.isArray(nodes)
    ? nodes
        .map((node) => JSON.stringify(node))
        .sort()
        .join('\n')
    : sorted;
}

const add = (options: Json): Step => command('blockdev-add', options);
const FILE = add({ driver: 'file', 'node-name': 'a', filename: 'DIR/a.raw' });
const debug = (name: string, own: Json = {}): Step =>
  add({ driver: 'blkdebug', 'node-name': name, image: 'a', ...own });
const inject = (...rules: Json[]): Json => ({ 'inject-error': rules });
const FLAT = command('query-named-block-nodes', { flat: true });

describe('qmp against qemu-storage-daemon: blkdebug', () => {
  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-img', 'qemu-io']) requirePeer(this, peer);
  });

  const same = (title: string, ...script: Step[]): void => {
    it(title, comparing(script, { files, filter }));
  };

  same(
    'what is wrong with its options',
    FILE,
    add({ driver: 'blkdebug', 'node-name': 'd' }),
    debug('d', { image: 'nobody' }),
    debug('d', { image: undefined, file: 'a' }),
    debug('d', { config: 'DIR/none' }),
    debug('d', { config: 'DIR/wrong' }),
    ...[3, 2 ** 31].map((align) => debug('d', { align })),
    debug('d', { align: 4096, 'max-transfer': 4095 }),
    debug('d', { 'max-transfer': 2 ** 31 }),
    debug('d', { align: 4096, 'opt-write-zero': 1000 }),
    debug('d', { 'opt-write-zero': 65536, 'max-write-zero': 1000 }),
    debug('d', { align: 512, 'opt-discard': 1000 }),
    debug('d', { 'opt-discard': 1024, 'max-discard': 1000 }),
    debug('d', inject({ event: 'x' })),
    debug('d', inject({})),
    debug('d', inject({ event: 'none', iotype: 'x' })),
    debug('d', inject({ event: 'none', once: 1 })),
    debug('d', inject({ event: 'none', nonsense: 1 })),
    debug('d', { 'set-state': [{ event: 'none' }] }),
    debug('d', { 'set-state': { event: 'none' } }),
    debug('d', { 'take-child-perms': 'write' }),
    debug('d', { backing: null }),
    FLAT,
  );

  same(
    'what it is called',
    FILE,
    debug('plain'),
    debug('rules', { config: 'DIR/rules' }),
    ...[0, 256, 4096, 2 ** 30].map((align) => debug(`align${align}`, { align })),
    debug('sector', inject({ event: 'read_aio', sector: -2, errno: 28 })),
    debug('states', { 'set-state': [{ event: 'read_aio', new_state: 2 }], ...inject({ event: 'none', errno: 0 }) }),
    debug('limits', { 'opt-write-zero': 65536, 'max-write-zero': 65536, 'opt-discard': 1000 }),
    debug('over', { image: 'plain' }),
    debug('overlimits', { image: 'limits' }),
    add({ driver: 'raw', 'node-name': 'raw', file: { driver: 'blkdebug', image: 'a' } }),
    add({
      driver: 'blkdebug',
      'node-name': 'q',
      config: 'DIR/rules',
      image: { driver: 'qcow2', file: { driver: 'file', filename: 'DIR/q.qcow2' } },
    }),
    FLAT,
    command('blockdev-reopen', { options: [{ driver: 'blkdebug', 'node-name': 'plain', image: 'a', align: 512 }] }),
    command('blockdev-reopen', { options: [{ driver: 'blkdebug', 'node-name': 'plain', image: 'a' }] }),
    command('block_resize', { 'node-name': 'plain', size: 2 << 20 }),
    ...['a', 'over', 'plain'].map((name) => command('blockdev-del', { 'node-name': name })),
  );

  same(
    'permissions that it takes, and keeps from others',
    FILE,
    debug('takes', { 'take-child-perms': ['write'], 'unshare-child-perms': ['resize'] }),
    debug('refuses', { 'unshare-child-perms': ['write'] }),
    debug('plain'),
    command('block_resize', { 'node-name': 'plain', size: 2 << 20 }),
    command('block_resize', { 'node-name': 'a', size: 2 << 20 }),
    command('blockdev-del', { 'node-name': 'takes' }),
    command('block_resize', { 'node-name': 'plain', size: 2 << 20 }),
    FLAT,
  );
});

/** What qemu-io says, as a client of an export of raw over blkdebug with these options. */
async function said(program: readonly string[], own: Json, commands: readonly string[]): Promise<string[]> {
  const shop = await Workshop.open();
  const daemon = await StorageDaemon.start(shop.path('qmp'), [], program);
  try {
    writeFileSync(shop.path('a'), Buffer.alloc(1 << 20, 1));
    const image = { driver: 'file', filename: shop.path('a'), discard: 'unmap' };
    const file = { driver: 'blkdebug', image, discard: 'unmap', ...own };
    await daemon.execute('blockdev-add', { driver: 'raw', 'node-name': 'disk', discard: 'unmap', file });
    await daemon.execute('nbd-server-start', { addr: { type: 'unix', data: { path: shop.path('nbd') } } });
    await daemon.execute('block-export-add', { type: 'nbd', id: 'e', 'node-name': 'disk', writable: true });
    const uri = `nbd+unix:///disk?socket=${shop.path('nbd')}`;
    const words = commands.flatMap((one) => ['-c', one]);
    const { stdout, stderr } = shop.run('qemu-io', '-f', 'raw', ...words, uri);
    return `${stdout}${stderr}`.split('\n').filter((line) => !/ops;/.test(line));
  } finally {
    await daemon.quit();
    shop.remove();
  }
}

describe('blkdebug, seen by qemu-io', () => {
  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-io']) requirePeer(this, peer);
  });

  const COMMANDS = ['read 4k 512', 'write 4k 512', 'write 4608 1k', 'write -z 8k 4k', 'discard 16k 8k', 'read 4k 1k'];
  // Not flush_to_disk: QEMU counts a write that is to be durable only when it has been flushed.
  const events = ['read_aio', 'write_aio', 'flush_to_os', 'pwritev', 'pwritev_done', 'pwritev_zero'];
  const rules: Json[] = [
    ...events.flatMap((event) => [{ event }, { event, sector: 9 }]),
    // QEMU's server ends the connection where a read fails.
    ...events.slice(1).map((event) => ({ event, once: true })),
    ...['read', 'write', 'write-zeroes', 'discard', 'flush'].map((iotype) => ({ event: 'write_aio', iotype })),
    { event: 'write_aio', state: 2 },
  ];
  for (const rule of rules) {
    it(`fails the same requests by ${JSON.stringify(rule)}`, async () => {
      const own = { 'inject-error': [rule], 'set-state': [{ event: 'read_aio', state: 1, new_state: 2 }] };
      const shop = await Workshop.open();
      const ours = await said([process.execPath, shop.bundle, 'daemon'], own, COMMANDS);
      shop.remove();
      expect(ours).to.deep.equal(await said(['qemu-storage-daemon'], own, COMMANDS));
    });
  }
});
