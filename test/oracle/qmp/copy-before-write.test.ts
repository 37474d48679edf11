// copy-before-write and snapshot-access against qemu-storage-daemon: how they are opened, who may use what, and what is shown of them.

import { requirePeer } from '../../support/peers.js';
import { command, comparing, type Setup, type Step } from './runner.js';

const files: Setup['files'] = (shop, folder) => {
  for (const name of ['a', 't']) shop.must('qemu-img', 'create', '-q', '-f', 'raw', `${folder}/${name}.raw`, '1M');
  shop.must('qemu-img', 'create', '-q', '-f', 'raw', `${folder}/s.raw`, '64k');
  shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', `${folder}/q.qcow2`, '1M');
};

/** Without the bitmaps that QEMU has for its own work, and what each calls the user of an export. */
function filter(text: string): string {
  const answer = JSON.parse(text.replace(/device '[a-z]+'/g, 'an unnamed block device')) as { return?: unknown };
  if (!Array.isArray(answer.return)) return JSON.stringify(answer);
  const nodes = (answer.return as Record<string, unknown>[]).map(({ 'dirty-bitmaps': bitmaps = [], ...node }) => {
    const named = (bitmaps as object[]).filter((bitmap) => 'name' in bitmap);
    return JSON.stringify({ ...node, bitmaps: named });
  });
  return nodes.sort().join('\n');
}

const add = (options: object): Step => command('blockdev-add', options as Record<string, unknown>);
const file = (name: string, more: object = {}): Step =>
  add({ driver: 'file', 'node-name': name, filename: `DIR/${name}.raw`, ...more });
const cbw = (more: object = {}): Step =>
  add({ driver: 'copy-before-write', 'node-name': 'c', file: 'a', target: 't', ...more });
const access = (more: object = {}): Step => add({ driver: 'snapshot-access', 'node-name': 'sa', file: 'c', ...more });
const del = (name: string): Step => command('blockdev-del', { 'node-name': name });
const resize = (name: string, size: number): Step => command('block_resize', { 'node-name': name, size });
const FLAT = command('query-named-block-nodes', { flat: true });
const SERVER = command('nbd-server-start', { addr: { type: 'unix', data: { path: 'DIR/nbd' } } });
const serve = (id: string, node: string, more: object = {}): Step =>
  command('block-export-add', { type: 'nbd', id, 'node-name': node, name: id, ...more });

describe('qmp against qemu-storage-daemon: copy-before-write', () => {
  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-img']) requirePeer(this, peer);
  });

  const same = (title: string, ...script: Step[]): void => {
    it(title, comparing(script, { files, filter }));
  };

  same(
    'what is wrong with its options',
    file('a'),
    file('t'),
    cbw({ file: undefined }),
    cbw({ target: undefined }),
    cbw({ file: 'nobody' }),
    cbw({ target: 'nobody' }),
    cbw({ 'on-cbw-error': 'report' }),
    cbw({ 'cbw-timeout': -1 }),
    cbw({ 'cbw-timeout': 2 ** 32 }),
    cbw({ bitmap: 'b' }),
    cbw({ bitmap: { node: 'a' } }),
    cbw({ bitmap: { node: 'a', name: 'b' } }),
    cbw({ bitmap: { node: 'x', name: 'b' } }),
    cbw({ backing: null }),
    cbw({ 'min-cluster-size': 'x' }),
    access({ file: undefined }),
    access(),
    access({ file: 'a', target: 't' }),
    access({ file: 'a' }),
    FLAT,
  );

  same(
    'a target that cannot take it',
    file('a'),
    add({ driver: 'file', 'node-name': 'ro', filename: 'DIR/t.raw', 'read-only': true }),
    file('s'),
    cbw({ target: 'ro' }),
    cbw({ target: 's' }),
    FLAT,
    del('c'),
    command('block-dirty-bitmap-add', { node: 's', name: 'b' }),
    command('block-dirty-bitmap-add', { node: 'a', name: 'b', granularity: 512 }),
    cbw({ target: 's', bitmap: { node: 's', name: 'b' } }),
    cbw({ target: 's', bitmap: { node: 'a', name: 'b' } }),
    FLAT,
  );

  same(
    'a filter that nobody uses',
    file('a'),
    file('t'),
    cbw({ 'cbw-timeout': 5, 'on-cbw-error': 'break-snapshot' }),
    add({ driver: 'copy-before-write', 'node-name': 'again', file: 'a', target: 't' }),
    FLAT,
    SERVER,
    serve('w', 'a', { writable: true }),
    serve('c', 'c'),
    serve('tw', 't', { writable: true }),
    resize('t', 2 << 20),
    del('a'),
    del('t'),
    del('c'),
    del('again'),
    del('t'),
    FLAT,
  );

  same(
    'a moment that is served',
    file('a'),
    file('t'),
    cbw(),
    access(),
    FLAT,
    SERVER,
    serve('s', 'sa'),
    serve('w', 'a', { writable: true }),
    serve('r', 'a'),
    serve('c', 'c', { writable: true }),
    serve('t', 't'),
    resize('sa', 2 << 20),
    resize('a', 2 << 20),
    del('c'),
    del('sa'),
    FLAT,
  );

  same(
    'what is changed of it while it is open',
    file('a'),
    file('t'),
    cbw(),
    access(),
    command('blockdev-reopen', {
      options: [{ driver: 'copy-before-write', 'node-name': 'c', file: 'a', target: 't' }],
    }),
    command('blockdev-reopen', { options: [{ driver: 'snapshot-access', 'node-name': 'sa', file: 'c' }] }),
    resize('c', 2 << 20),
    resize('sa', 3 << 20),
    command('block-dirty-bitmap-add', { node: 'c', name: 'x' }),
    command('block-dirty-bitmap-add', { node: 'sa', name: 'x' }),
    FLAT,
  );

  same(
    'put in below a node that is open',
    file('a'),
    file('t'),
    file('s'),
    add({ driver: 'raw', 'node-name': 'r', file: 'a' }),
    SERVER,
    serve('r', 'r', { writable: true }),
    cbw(),
    access(),
    command('blockdev-reopen', { options: [{ driver: 'raw', 'node-name': 'r', file: 'r' }] }),
    command('blockdev-reopen', { options: [{ driver: 'raw', 'node-name': 'r', file: 'sa' }] }),
    del('sa'),
    command('blockdev-reopen', { options: [{ driver: 'raw', 'node-name': 'r', file: 'c' }] }),
    access(),
    serve('s', 'sa'),
    del('c'),
    command('blockdev-reopen', { options: [{ driver: 'raw', 'node-name': 'r', file: 'a' }] }),
    command('block-export-del', { id: 's' }),
    del('sa'),
    command('blockdev-reopen', { options: [{ driver: 'raw', 'node-name': 'r', file: 'a' }] }),
    del('c'),
    FLAT,
  );

  same(
    'over and under qcow2',
    add({ driver: 'qcow2', 'node-name': 'q', file: { driver: 'file', filename: 'DIR/q.qcow2' } }),
    file('t'),
    cbw({ file: 'q' }),
    access(),
    FLAT,
    del('q'),
  );
});
