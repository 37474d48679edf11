// The NBD server and its exports against qemu-storage-daemon: what is wrong with one, names that are taken, removal, writers, and who has a node in use.

import { requirePeer } from '../../support/peers.js';
import type { Json } from '../../support/qmp.js';
import { command, comparing, type Setup, type Step, until } from './runner.js';

const files: Setup['files'] = (shop, folder) => {
  shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', `${folder}/top.qcow2`, '4M');
  shop.must('qemu-img', 'create', '-q', '-f', 'raw', `${folder}/a.raw`, '4M');
};

const add = (name: string, driver: string, file: string, more: Json = {}): Step =>
  command('blockdev-add', { driver, 'node-name': name, file: { driver: 'file', filename: `DIR/${file}` }, ...more });
const GRAPH: Step[] = [
  add('top', 'qcow2', 'top.qcow2'),
  add('fixed', 'raw', 'a.raw', { 'read-only': true }),
  command('blockdev-add', { driver: 'null-co', 'node-name': 'null', size: 1 << 20, 'read-zeroes': true }),
  command('blockdev-add', { driver: 'null-co', 'node-name': 'odd', size: 1000, 'read-zeroes': true }),
];
const server = (words: Json): Step => command('nbd-server-start', words);
const unix = (path: unknown): Json => ({ type: 'unix', data: { path } });
const START = server({ addr: unix('DIR/nbd') });
const LIST = command('query-block-exports');
const nbd = (id: unknown, node: unknown, more: Json = {}): Step =>
  command('block-export-add', { type: 'nbd', id, 'node-name': node, ...more });
const old = (words: Json): Step => command('nbd-server-add', words);
const del = (id: unknown, more: Json = {}): Step => command('block-export-del', { id, ...more });
const remove = (name: unknown, more: Json = {}): Step => command('nbd-server-remove', { name, ...more });
const gone = (id: string): Step => until('BLOCK_EXPORT_DELETED', { id });

/** How far a file reaches is each program's own affair. */
const filter = (text: string): string => text.replace(/"format":"file","virtual-size":\d+/g, '');

describe('qmp against qemu-storage-daemon: exports', () => {
  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-img']) requirePeer(this, peer);
  });

  const same = (title: string, ...script: Step[]): void => {
    it(title, comparing([...GRAPH, ...script], { files, filter }));
  };

  same(
    'the server: what is wrong with it, twice, and without one',
    LIST,
    nbd('e', 'top'),
    old({ device: 'top' }),
    remove('top'),
    command('nbd-server-stop'),
    server({}),
    server({ addr: 1 }),
    server({ addr: {} }),
    server({ addr: { type: 'nonsense', data: {} } }),
    server({ addr: { type: 'unix' } }),
    server({ addr: { type: 'unix', data: {} } }),
    server({ addr: unix(7) }),
    server({ addr: { type: 'unix', path: 'DIR/nbd' } }),
    server({ addr: { type: 'inet', data: { host: 'localhost' } } }),
    server({ addr: unix('DIR/nbd'), nonsense: 1 }),
    server({ addr: unix('DIR/nbd'), 'tls-creds': 'nobody' }),
    server({ addr: unix('DIR/nbd'), 'max-connections': -1 }),
    server({ addr: unix('DIR/nbd'), 'max-connections': 'x' }),
    server({ addr: unix('DIR/none/nbd') }),
    server({ addr: unix('DIR/nbd'), 'max-connections': 2 }),
    START,
    server({ addr: unix('DIR/other') }),
    LIST,
    command('nbd-server-stop', { now: true }),
    command('nbd-server-stop'),
    command('nbd-server-stop'),
    START,
    nbd('e', 'top'),
    command('nbd-server-stop'),
    gone('e'),
    LIST,
  );

  same(
    'what is wrong with an export',
    START,
    command('block-export-add'),
    command('block-export-add', { type: 'nbd' }),
    command('block-export-add', { id: 'e', 'node-name': 'top' }),
    command('block-export-add', { type: 'nbd', 'node-name': 'top' }),
    command('block-export-add', { type: 'nbd', id: 'e' }),
    command('block-export-add', { type: 'nonsense', id: 'e', 'node-name': 'top' }),
    nbd('e', 'nobody'),
    nbd('e', ''),
    nbd('e', 1),
    nbd(1, 'top'),
    nbd('', 'top'),
    nbd('1', 'top'),
    nbd('a b', 'top'),
    nbd('e', 'top', { nonsense: 1 }),
    nbd('e', 'top', { writable: 'on' }),
    nbd('e', 'top', { writethrough: 'on' }),
    nbd('e', 'top', { name: 1 }),
    nbd('e', 'top', { name: 'n'.repeat(4097) }),
    nbd('e', 'top', { description: 'd'.repeat(4097) }),
    nbd('e', 'top', { description: 1 }),
    nbd('e', 'top', { 'allocation-depth': 'yes' }),
    nbd('e', 'top', { bitmap: 'b' }),
    nbd('e', 'top', { bitmaps: [] }),
    del('e'),
    gone('e'),
    nbd('e', 'fixed', { writable: true }),
    LIST,
  );

  same(
    'names that are taken',
    START,
    nbd('e', 'top'),
    nbd('e', 'top'),
    nbd('e', 'null'),
    nbd('f', 'top'),
    nbd('f', 'top', { name: 'top' }),
    nbd('f', 'null', { name: 'top' }),
    nbd('f', 'top', { name: '' }),
    nbd('g', 'top', { name: 'n'.repeat(4096), description: 'd'.repeat(4096) }),
    nbd('h', 'odd', { name: 'odd name', description: '', writable: false }),
    LIST,
    ...['e', 'f', 'g', 'h'].flatMap((id) => [del(id), gone(id), LIST]),
    nbd('e', 'top'),
    LIST,
  );

  same(
    'removal',
    START,
    command('block-export-del'),
    del('nobody'),
    del(1),
    nbd('e', 'top'),
    del('e', { mode: 'nonsense' }),
    del('e', { nonsense: 1 }),
    del('e', { mode: 'safe' }),
    gone('e'),
    del('e'),
    nbd('e', 'top'),
    del('e', { mode: 'hard' }),
    gone('e'),
    del('e', { mode: 'hard' }),
    nbd('e', 'top', { name: 'x' }),
    command('nbd-server-remove'),
    remove('e'),
    gone('e'),
    remove(1),
    remove('x', { mode: 'nonsense' }),
    remove('x', { mode: 'safe' }),
    nbd('x', 'top', { name: 'y' }),
    remove('y'),
    remove('x'),
    gone('x'),
    remove('x'),
    LIST,
  );

  same(
    'the first command for exports',
    START,
    command('nbd-server-add'),
    old({ device: 'nobody' }),
    old({ device: 1 }),
    old({ device: 'top', nonsense: 1 }),
    old({ device: 'top', bitmap: 'nothing' }),
    old({ device: 'top', name: 'n'.repeat(4097) }),
    old({ device: 'top', description: 'what it is' }),
    old({ device: 'top' }),
    old({ device: 'top', name: 'second', writable: true }),
    old({ device: 'fixed', writable: true }),
    LIST,
    nbd('top', 'top', { name: 'third' }),
    nbd('x', 'null', { name: 'second' }),
    remove('second', { mode: 'hard' }),
    gone('second'),
    LIST,
    command('block-dirty-bitmap-add', { node: 'top', name: 'b', disabled: true }),
    old({ device: 'top', name: 'fourth', bitmap: 'b' }),
    LIST,
  );

  same(
    'a node in use, its size, and writers',
    START,
    nbd('r', 'top'),
    command('blockdev-del', { 'node-name': 'top' }),
    nbd('w', 'top', { name: 'w', writable: true }),
    nbd('v', 'top', { name: 'v', writable: true }),
    LIST,
    command('block_resize', { 'node-name': 'top', size: 8 << 20 }),
    command('blockdev-backup', { 'job-id': 'j', device: 'null', target: 'top', sync: 'full' }),
    command('blockdev-mirror', { 'job-id': 'j', device: 'null', target: 'top', sync: 'full' }),
    command('blockdev-reopen', {
      options: [{ driver: 'qcow2', 'node-name': 'top', file: { driver: 'file' }, 'read-only': true }],
    }),
    command('block-set-write-threshold', { 'node-name': 'top', 'write-threshold': 4096 }),
    del('r'),
    gone('r'),
    del('w'),
    gone('w'),
    del('v'),
    gone('v'),
    command('block_resize', { 'node-name': 'top', size: 8 << 20 }),
    command('blockdev-del', { 'node-name': 'top' }),
    LIST,
  );

  const threshold = (node: unknown, bytes: unknown): Step =>
    command('block-set-write-threshold', { 'node-name': node, 'write-threshold': bytes });
  same(
    'write thresholds',
    command('block-set-write-threshold'),
    command('block-set-write-threshold', { 'node-name': 'top' }),
    threshold('nobody', 1),
    threshold('top', 'x'),
    threshold('top', 1.5),
    threshold(1, 1),
    ...[1, 0, 4096, 2 ** 40, 2 ** 53 - 1].flatMap((bytes) => [
      threshold('top', bytes),
      threshold('fixed', bytes),
      command('query-named-block-nodes', { flat: true }),
    ]),
  );

  const resize = (words: Json): Step => command('block_resize', words);
  same(
    'sizes',
    resize({}),
    resize({ size: 512 }),
    resize({ 'node-name': 'top' }),
    resize({ 'node-name': 'nobody', size: 512 }),
    resize({ device: 'nobody', size: 512 }),
    resize({ device: 'top', size: 8 << 20 }),
    resize({ 'node-name': 'top', size: -1 }),
    resize({ 'node-name': 'top', size: 'x' }),
    resize({ 'node-name': 'top', size: 513 }),
    resize({ 'node-name': 'top', size: 0 }),
    resize({ 'node-name': 'top', size: 16 << 20 }),
    resize({ 'node-name': 'fixed', size: 8 << 20 }),
    resize({ 'node-name': 'null', size: 2 << 20 }),
    command('query-named-block-nodes', { flat: true }),
  );
});
