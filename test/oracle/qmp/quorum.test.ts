// quorum, blkverify and blklogwrites against qemu-storage-daemon: how they are opened, what they are called, children that come and go.

import { requirePeer } from '../../support/peers.js';
import type { Json } from '../../support/qmp.js';
import { command, comparing, type Setup, type Step } from './runner.js';

const files: Setup['files'] = (shop, folder) => {
  for (const name of ['a', 'b', 'c']) shop.must('qemu-img', 'create', '-q', '-f', 'raw', `${folder}/${name}`, '1M');
  shop.must('qemu-img', 'create', '-q', '-f', 'raw', `${folder}/small`, '64k');
  shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', `${folder}/q.qcow2`, '1M');
};

/** With members in the order of their names. */
function inOrder(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inOrder);
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(members.map(([name, member]) => [name, inOrder(member)]));
}

/** QEMU writes the members of a name in the order of its hash table; and nodes are in the order of what is compared. */
function filter(text: string): string {
  const sorted = text
    .replace(/device '[a-z]+'/g, 'an unnamed block device')
    .replace(/"json:((?:\\.|[^"\\])*)"/g, (_, json: string) =>
      JSON.stringify(inOrder(JSON.parse(JSON.parse(`"${json}"`)))),
    );
  const { return: nodes } = JSON.parse(sorted) as { return?: unknown };
  return Array.isArray(nodes)
    ? nodes
        .map((node) => JSON.stringify(node))
        .sort()
        .join('\n')
    : sorted;
}

const add = (driver: string, name: string, own: Json): Step =>
  command('blockdev-add', { driver, 'node-name': name, ...own });
const file = (name: string): Step => add('file', name, { filename: `DIR/${name}` });
const quorum = (name: string, own: Json = {}): Step =>
  add('quorum', name, { children: ['a', 'b'], 'vote-threshold': 2, ...own });
const change = (own: Json): Step => command('x-blockdev-change', own);
const resize = (name: string): Step => command('block_resize', { 'node-name': name, size: 2 << 20 });
const del = (name: string): Step => command('blockdev-del', { 'node-name': name });
const FLAT = command('query-named-block-nodes', { flat: true });
const DISKS = ['a', 'b', 'c', 'small'].map(file);

describe('qmp against qemu-storage-daemon: quorum, blkverify, blklogwrites', () => {
  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-img']) requirePeer(this, peer);
  });

  const same = (title: string, ...script: Step[]): void => {
    it(title, comparing(script, { files, filter }));
  };

  same(
    'what is wrong with the options of a quorum',
    ...DISKS,
    quorum('q', { children: undefined }),
    quorum('q', { children: [] }),
    quorum('q', { children: 'a' }),
    quorum('q', { 'vote-threshold': undefined }),
    ...[0, -1, 3, '2'].map((threshold) => quorum('q', { 'vote-threshold': threshold })),
    quorum('q', { children: ['a', 'nobody'] }),
    quorum('q', { children: ['a', 'small'] }),
    quorum('q', { children: ['a', { driver: 'nonsense' }] }),
    quorum('q', { children: ['a', 'b', 'c'], blkverify: true }),
    quorum('q', { blkverify: true, 'rewrite-corrupted': true }),
    quorum('q', { 'read-pattern': 'x' }),
    quorum('q', { backing: null }),
    quorum('q', { file: 'a' }),
    FLAT,
  );

  same(
    'what it is called, and whom it keeps off',
    ...DISKS,
    quorum('q', { children: ['a', 'b', 'c'], 'rewrite-corrupted': true }),
    quorum('again', { children: ['a', 'b'] }),
    FLAT,
    resize('q'),
    resize('a'),
    command('blockdev-reopen', {
      options: [{ driver: 'quorum', 'node-name': 'q', children: ['a'], 'vote-threshold': 1 }],
    }),
    del('a'),
    del('q'),
    quorum('fifo', { 'read-pattern': 'fifo', blkverify: true, 'vote-threshold': 1 }),
    FLAT,
    del('fifo'),
    quorum('inline', {
      'vote-threshold': 1,
      children: [
        { driver: 'file', filename: 'DIR/a' },
        { driver: 'qcow2', file: { driver: 'file', filename: 'DIR/q.qcow2' } },
      ],
    }),
    FLAT,
  );

  same(
    'children that come and go',
    ...DISKS,
    quorum('q'),
    change({ parent: 'q' }),
    change({ parent: 'q', child: 'children.0', node: 'c' }),
    change({ parent: 'nobody', node: 'c' }),
    change({ parent: 'q', node: 'nobody' }),
    change({ parent: 'q', child: 'children.9' }),
    change({ parent: 'q', child: 'children.1' }),
    change({ parent: 'q', node: 'c' }),
    change({ parent: 'q', node: 'c' }),
    FLAT,
    change({ parent: 'q', child: 'children.0' }),
    FLAT,
    change({ parent: 'q', child: 'children.1' }),
    change({ parent: 'q', node: 'a' }),
    change({ parent: 'q', child: 'children.3' }),
    change({ parent: 'q', node: 'q' }),
    change({ parent: 'a', node: 'b' }),
    change({ parent: 'a', child: 'b' }),
    FLAT,
    quorum('v', { children: [{ driver: 'null-co' }, { driver: 'null-co' }], blkverify: true }),
    change({ parent: 'v', node: 'small' }),
    change({ parent: 'v', child: 'children.0' }),
  );

  same(
    'blkverify',
    ...DISKS,
    add('blkverify', 'v', {}),
    add('blkverify', 'v', { test: 'a' }),
    add('blkverify', 'v', { test: 'a', raw: 'nobody' }),
    add('blkverify', 'v', { test: 'a', raw: 'small' }),
    add('blkverify', 'w', { test: 'a', raw: 'b' }),
    add('blkverify', 'x', { test: 'w', raw: 'b' }),
    add('blkverify', 'y', {
      test: { driver: 'qcow2', file: { driver: 'file', filename: 'DIR/q.qcow2' } },
      raw: { driver: 'raw', file: { driver: 'file', filename: 'DIR/c' } },
    }),
    FLAT,
    command('blockdev-reopen', { options: [{ driver: 'blkverify', 'node-name': 'w', test: 'a', raw: 'b' }] }),
    resize('w'),
    resize('a'),
    del('a'),
  );

  same(
    'blklogwrites',
    ...DISKS,
    add('blklogwrites', 'l', {}),
    add('blklogwrites', 'l', { file: 'a' }),
    ...[100, 3, 16, 16777216, 0].map((bytes) =>
      add('blklogwrites', 'l', { file: 'a', log: 'b', 'log-sector-size': bytes }),
    ),
    add('blklogwrites', 'l', { file: 'a', log: 'b', 'log-append': true, 'log-sector-size': 512 }),
    add('blklogwrites', 'l', { file: 'a', log: 'b', 'log-super-update-interval': 0 }),
    add('blklogwrites', 'l', { file: 'a', log: 'b', 'log-sector-size': 4096, 'log-super-update-interval': 5 }),
    FLAT,
    resize('l'),
    resize('b'),
    resize('a'),
    command('blockdev-reopen', { options: [{ driver: 'blklogwrites', 'node-name': 'l', file: 'a', log: 'b' }] }),
    del('b'),
    del('l'),
    FLAT,
  );
});
