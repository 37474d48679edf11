// Objects as a monitor sees them, throttle groups and the filters over them, against qemu-storage-daemon.

import { createCipheriv } from 'node:crypto';
import { requirePeer } from '../../support/peers.js';
import { command, comparing, type Setup, type Step } from './runner.js';

const files: Setup['files'] = (shop, folder) => {
  shop.must('qemu-img', 'create', '-q', '-f', 'raw', `${folder}/a.raw`, '4M');
  shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', `${folder}/base.qcow2`, '4M');
  shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', `${folder}/top.qcow2`);
};

const object = (type: string, id: string, own: object = {}): Step =>
  command('object-add', { 'qom-type': type, id, ...own });
const group = (id: string, own: object = {}): Step => object('throttle-group', id, own);
const list = (path: string): Step => command('qom-list', { path });
const get = (path: string, property: string): Step => command('qom-get', { path, property });
const set = (path: string, property: string, value: unknown): Step => command('qom-set', { path, property, value });
const limits = (value: unknown): Step => set('/objects/g', 'limits', value);
const del = (id: string): Step => command('object-del', { id });
const node = (driver: string, name: string, own: object): Step =>
  command('blockdev-add', { driver, 'node-name': name, ...own });
const reopen = (options: object): Step => command('blockdev-reopen', { options: [options] });
const file = (name: string) => ({ driver: 'file', 'node-name': `${name}-file`, filename: `DIR/${name}` });
/** 32 bytes, 16 bytes, and what they make of `secret`. */
const KEY = Buffer.alloc(32, 7).toString('base64');
const IV = Buffer.alloc(16, 9).toString('base64');
const cipher = createCipheriv('aes-256-cbc', Buffer.alloc(32, 7), Buffer.alloc(16, 9));
const ENCRYPTED = Buffer.concat([cipher.update('secret'), cipher.final()]).toString('base64');
const NODES = command('query-named-block-nodes');

describe('qmp against qemu-storage-daemon: objects and simple filters', () => {
  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-img']) requirePeer(this, peer);
  });

  const same = (title: string, ...script: Step[]): void => {
    it(title, comparing(script, { files }));
  };

  same(
    'throttle groups and their limits',
    group('g', { limits: { 'iops-total': 100, 'bps-read': 2e6, 'bps-read-max': 4e6, 'bps-read-max-length': 3 } }),
    group('h', { 'x-iops-total': 100, 'x-iops-size': 4096 }),
    group('both', { 'x-iops-total': 7, 'x-iops-read': 5, limits: { 'iops-total': 0 } }),
    group('none'),
    group('x', { limits: { 'iops-total': 100, 'iops-read': 2 } }),
    group('x', { 'x-iops-total': 100, 'x-iops-read': 2 }),
    group('x', { 'x-nonsense': 1 }),
    group('x', { 'x-iops-total': '100' }),
    group('x', { 'x-iops-total': -1 }),
    group('x', { 'x-iops-total-max': 5 }),
    group('x', { 'x-iops-total-max-length': 0 }),
    group('x', { 'x-iops-total-max-length': 2 ** 32 }),
    group('x', { limits: { 'iops-total-max-length': 0 } }),
    ...['g', 'h', 'both', 'none'].map((id) => get(`/objects/${id}`, 'limits')),
    get('h', 'x-iops-total'),
    get('h', 'x-iops-size'),
    get('g', 'x-bps-read-max-length'),
    limits({ 'iops-read': 7, 'iops-write': 9 }),
    limits({ 'iops-total': 7 }),
    get('g', 'limits'),
    limits({ 'bps-read': 0 }),
    limits({ 'bps-read': 0, 'bps-read-max': 0, 'bps-read-max-length': 1 }),
    limits({ 'bps-read-max': 7 }),
    limits({ 'iops-total-max': 3 }),
    limits({ 'iops-total-max-length': 3 }),
    limits({ 'iops-total-max-length': 0 }),
    limits({ 'iops-total-max-length': 2 ** 32 }),
    limits({ 'iops-total': -1 }),
    limits({ 'iops-total': 1e15 + 1 }),
    limits({ 'iops-size': 512 }),
    limits({ 'iops-total': 'a' }),
    limits({ nonsense: 1 }),
    limits(5),
    get('g', 'limits'),
    set('/objects/g', 'x-iops-total', 5),
    set('/objects/g', 'x-iops-total', '5'),
    set('/objects/g', 'x-nonsense', 5),
    set('/objects/g', 'type', 'x'),
    set('/objects', 'g', 'x'),
    set('/objects', 'type', 'x'),
    set('/nothing', 'g', 'x'),
    command('qom-set', { path: '/objects/g', property: 'limits' }),
    command('qom-set', { path: '/objects/g', value: 1 }),
  );

  same(
    'secrets that are encrypted with another one',
    object('secret', 'key', { data: KEY, format: 'base64' }),
    object('secret', 'short', { data: 'hello' }),
    ...[
      { data: ENCRYPTED, format: 'base64', keyid: 'key', iv: IV },
      { data: 'aaaa', keyid: 'nobody' },
      { data: 'aaaa', keyid: 'short' },
      { data: 'aaaa', keyid: 'key' },
      { data: 'aaaa', keyid: 'key', iv: 'AAAA' },
      { data: 'aaaa', keyid: 'key', iv: '!!' },
      { data: 'aaaa', keyid: 'key', iv: IV },
      { data: 'aaaa', keyid: 'key', iv: IV, format: 'base64' },
      { data: '!', keyid: 'key', iv: IV, format: 'base64' },
      { data: '', keyid: 'key', iv: IV },
      { data: 'AAECAwQFBgcICQoLDA0ODw==', keyid: 'key', iv: IV, format: 'base64' },
      { file: 'DIR/none', keyid: 'nobody' },
      { data: 'aGVs bG8=', format: 'base64' },
      { data: 'aGVs\nbG8=', format: 'base64' },
      { data: 'aGVsbG8', format: 'base64' },
      { data: '=', format: 'base64' },
    ].map((own, i) => object('secret', `s${i}`, own)),
    list('/objects'),
    list('s0'),
    get('s0', 'keyid'),
    get('s0', 'iv'),
    get('key', 'iv'),
    get('key', 'loaded'),
    set('key', 'loaded', true),
    del('key'),
    command('qom-list-properties', { typename: 'secret' }),
  );

  same(
    'authorizations, changed while they are there',
    object('authz-simple', 'z', { identity: 'abc' }),
    object('authz-list', 'l'),
    get('l', 'rules'),
    set('z', 'identity', 'def'),
    set('z', 'identity', 5),
    get('z', 'identity'),
    set('l', 'policy', 'allow'),
    set('l', 'policy', 'frob'),
    set('l', 'policy', 5),
    get('l', 'policy'),
    set('l', 'rules', [{ match: 1 }]),
    set('l', 'rules', [{ match: 'x' }]),
    set('l', 'rules', [{ match: 'x', policy: 'deny', format: 'glob' }]),
    get('l', 'rules'),
  );

  same(
    'paths, properties and types',
    group('g'),
    object('secret', 's', { data: 'abc' }),
    object('authz-simple', 'z', { identity: 'abc' }),
    object('authz-list', 'l', { policy: 'deny', rules: [{ match: 'a', policy: 'allow', format: 'exact' }] }),
    ...['/objects', 'objects', '/objects/', '', 'g', '/objects/g', 'objects/g', '/objects/z', 'l', '/g', 'none'].map(
      list,
    ),
    list('/objects/z/type'),
    command('qom-list'),
    command('qom-list', { path: 1 }),
    ...['g', 'z', '/objects', '/'].map((path) => get(path, 'type')),
    get('/objects', 'g'),
    get('/', 'objects'),
    get('g', 'nonsense'),
    get('/objects', 'nonsense'),
    get('/objects/nonsense', 'limits'),
    get('s', 'data'),
    get('s', 'file'),
    get('s', 'format'),
    get('z', 'identity'),
    get('l', 'policy'),
    get('l', 'rules'),
    command('qom-get', { path: 'g' }),
    ...['throttle-group', 'container', 'authz', 'authz-simple', 'authz-list', 'authz-list-file', 'nonsense'].map(
      (typename) => command('qom-list-properties', { typename }),
    ),
    command('qom-list-properties'),
    command('qom-list-types', { implements: 'authz' }),
    command('qom-list-types', { implements: 'authz', abstract: true }),
    command('qom-list-types', { implements: 'throttle-group' }),
    command('qom-list-types', { implements: 'container' }),
    command('qom-list-types', { implements: 'nonsense' }),
    command('qom-list-types', { abstract: 1 }),
  );

  same(
    'the throttle filter',
    group('g', { limits: { 'iops-total': 1000 } }),
    group('h', { 'x-bps-total': 1 << 20 }),
    node('throttle', 't', { 'throttle-group': 'g', file: file('a.raw') }),
    node('throttle', 'u', { 'throttle-group': 'none', file: 'a.raw-file' }),
    node('throttle', 'u', { file: 'a.raw-file' }),
    node('throttle', 'u', { 'throttle-group': 'g' }),
    node('throttle', 'u', { 'throttle-group': 'g', file: 'nobody' }),
    node('throttle', 'u', { 'throttle-group': 'g', file: 'a.raw-file', backing: 'x' }),
    node('throttle', 'u', { 'throttle-group': 1, file: 'a.raw-file' }),
    node('throttle', 'v', {
      'throttle-group': 'h',
      'read-only': true,
      file: { driver: 'qcow2', file: file('top.qcow2') },
    }),
    NODES,
    del('g'),
    reopen({ driver: 'throttle', 'node-name': 't', 'throttle-group': 'h', file: 'a.raw-file' }),
    del('g'),
    reopen({ driver: 'throttle', 'node-name': 't', 'throttle-group': 'g', file: 'a.raw-file' }),
    reopen({ driver: 'throttle', 'node-name': 't', file: 'a.raw-file' }),
    del('h'),
    command('block_resize', { 'node-name': 't', size: 1 << 20 }),
    command('blockdev-del', { 'node-name': 't' }),
    command('blockdev-del', { 'node-name': 'v' }),
    del('h'),
    del('h'),
    NODES,
  );

  same(
    'copy-on-read, compress, preallocate and null-aio',
    node('qcow2', 'base', { 'read-only': true, file: file('base.qcow2') }),
    // It opens its backing file itself: 'base' is not in its chain.
    node('qcow2', 'top', { file: file('top.qcow2') }),
    node('copy-on-read', 'c', { file: 'top' }),
    node('copy-on-read', 'x', { file: 'top', bottom: 'nobody' }),
    node('copy-on-read', 'x', { file: 'top', bottom: 'c' }),
    node('copy-on-read', 'c2', { file: 'top', bottom: 'top' }),
    node('copy-on-read', 'x', { file: 'base' }),
    node('copy-on-read', 'x', { file: 'base', 'read-only': true }),
    node('copy-on-read', 'x', {}),
    node('copy-on-read', 'x', { file: 'top', nonsense: 1 }),
    reopen({ driver: 'copy-on-read', 'node-name': 'c', file: 'top' }),
    node('compress', 'k', { file: 'top' }),
    reopen({ driver: 'compress', 'node-name': 'k', file: 'top' }),
    node('compress', 'x', { file: { driver: 'file', filename: 'DIR/a.raw' } }),
    node('compress', 'x', { file: { driver: 'null-co' } }),
    node('compress', 'x', { file: { driver: 'raw', file: { driver: 'null-co' } } }),
    node('compress', 'x', {}),
    node('preallocate', 'p', { file: file('a.raw') }),
    node('preallocate', 'x', { file: { driver: 'null-co' }, 'prealloc-align': 1000 }),
    node('preallocate', 'x', { file: { driver: 'null-co' }, 'prealloc-size': -5 }),
    node('preallocate', 'x', { file: { driver: 'null-co' }, 'prealloc-align': -512 }),
    node('preallocate', 'x', { file: { driver: 'null-co' }, 'prealloc-size': '1M' }),
    reopen({ driver: 'preallocate', 'node-name': 'p', file: 'a.raw-file', 'prealloc-size': 1 << 20 }),
    reopen({
      driver: 'preallocate',
      'node-name': 'p',
      file: 'a.raw-file',
      'prealloc-size': 1 << 20,
      'prealloc-align': 7,
    }),
    node('null-aio', 'n', { size: 1 << 20, 'latency-ns': 1000, 'read-zeroes': true }),
    node('null-aio', 'm', {}),
    node('null-aio', 'x', { nonsense: 1 }),
    NODES,
    command('query-named-block-nodes', { flat: true }),
    ...['c', 'c1', 'c2', 'k', 'p', 'n', 'm', 'x'].map((name) => command('blockdev-del', { 'node-name': name })),
    NODES,
  );
});
