// Every option of every driver that makes images, right, wrong and missing, against qemu-storage-daemon: what the command says, what becomes of the
// job, and what image is there afterwards (`query-named-block-nodes` of it).
//
// Not compared: `nocow` and members of qcow2 that are not there yet; `raw`, which makes images here; a negative size, which the reference takes
// for one of nearly 2^64 bytes; files that a node uses, which are left as they are here.

import { requirePeer } from '../../support/peers.js';
import type { Json } from '../../support/qmp.js';
import { command, comparing, type Setup, type Step, untilIfDone } from './runner.js';

const MIB = 1 << 20;

const files: Setup['files'] = (shop, folder) => {
  shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', `${folder}/base.qcow2`, '4M');
  shop.must('qemu-img', 'create', '-q', '-f', 'raw', `${folder}/image`, '0');
  shop.must('qemu-img', 'create', '-q', '-f', 'raw', `${folder}/fixed`, '64K');
};

/** Where the command is taken, its job is seen to its end. */
const creation = (options: Json): Step[] => [
  command('blockdev-create', { 'job-id': 'j', options }),
  untilIfDone('JOB_STATUS_CHANGE', { id: 'j', status: 'concluded' }),
  command('query-jobs'),
  command('job-dismiss', { id: 'j' }),
];
const NODES = command('query-named-block-nodes', { flat: true });
const add = (words: Json): Step => command('blockdev-add', words);
const del = (name: string): Step => command('blockdev-del', { 'node-name': name });

/** Made, opened, looked at, closed. */
const looked = (options: Json): Step[] => [
  ...creation(options),
  add({ driver: 'qcow2', 'node-name': 'made', file: 'image', backing: null }),
  NODES,
  del('made'),
];
const file = (more: Json = {}): Json => ({ driver: 'file', filename: 'DIR/new', size: MIB, ...more });
const qcow2 = (more: Json = {}): Json => ({ driver: 'qcow2', file: 'image', size: MIB, ...more });
/** The backing file is opened by its name in the header. */
const withBacking = (more: Json): Step[] => [
  ...creation(qcow2(more)),
  add({ driver: 'qcow2', 'node-name': 'made', file: 'image' }),
  NODES,
  del('made'),
];
const without = (options: Json, name: string): Json =>
  Object.fromEntries(Object.entries(options).filter(([key]) => key !== name));

const WRONG = [null, true, -1, 1.5, 2 ** 53 - 1, 'x', '', [], {}];

/**
 * How long a file is is each program's own affair: the reference leaves what an earlier, larger image had there. A size that is no number is
 * refused in the words for any integer here, whether it is signed in the reference's schema or not.
 */
const filter = (text: string): string =>
  text
    .replace(/("format":"file",)"virtual-size":\d+/g, '$1')
    .replace(/Invalid parameter type for '([\w.-]+)', expected: integer/, "Parameter '$1' expects uint64");

describe('qmp against qemu-storage-daemon: options of images', () => {
  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-img']) requirePeer(this, peer);
  });

  const same = (title: string, ...script: Step[]): void => {
    const graph = [
      add({ driver: 'file', 'node-name': 'image', filename: 'DIR/image' }),
      add({ driver: 'file', 'node-name': 'fixed', filename: 'DIR/fixed', 'read-only': true }),
    ];
    it(title, comparing([...graph, ...script], { files, filter }));
  };
  const wrong = (options: (more: Json) => Json, name: string): Step[] =>
    WRONG.flatMap((value) => creation(options({ [name]: value })));

  same(
    'file',
    ...creation(without(file(), 'filename')),
    ...creation(without(file(), 'size')),
    ...wrong(file, 'filename').filter((step) => !JSON.stringify(step).includes('"filename":"x"')),
    ...[0, 1, 511, 513, 1000, 65536].flatMap((size) => [
      ...creation(file({ size })),
      add({ driver: 'file', 'node-name': 'made', filename: 'DIR/new' }),
      NODES,
      del('made'),
    ]),
    ...[null, true, 1.5, 'x', '1M', []].flatMap((size) => creation(file({ size }))),
    ...['off', 'falloc', 'full', 'metadata', 'none', null, 1].flatMap((preallocation) =>
      creation(file({ preallocation })),
    ),
    ...[0, 'x'].flatMap((hint) => creation(file({ 'extent-size-hint': hint }))),
    ...creation(file({ filename: 'DIR/nowhere/x' })),
    ...creation(file({ version: 'v3' })),
    NODES,
  );

  same(
    'qcow2: sizes, versions, clusters',
    ...creation(without(qcow2(), 'file')),
    ...creation(without(qcow2(), 'size')),
    ...[0, 512, 65536, 3 * 512, 2 ** 40].flatMap((size) => looked(qcow2({ size }))),
    ...[1, 511, 513, null, true, 1.5, 'x'].flatMap((size) => creation(qcow2({ size }))),
    ...['v2', 'v3'].flatMap((version) => looked(qcow2({ version }))),
    ...['v1', '3', 3, null].flatMap((version) => creation(qcow2({ version }))),
    ...[512, 4096, 65536, 2 * MIB].flatMap((cluster) => looked(qcow2({ 'cluster-size': cluster }))),
    ...[0, 1, 256, 511, 1000, 4 * MIB, 2 ** 32, 2 ** 40, 'x'].flatMap((cluster) =>
      creation(qcow2({ 'cluster-size': cluster })),
    ),
  );

  same(
    'qcow2: refcounts, compression, preallocation',
    ...[1, 2, 4, 8, 16, 32, 64].flatMap((bits) => looked(qcow2({ 'refcount-bits': bits }))),
    ...[0, 3, 65, 128, 2 ** 32 + 16, -16, 'x', null].flatMap((bits) => creation(qcow2({ 'refcount-bits': bits }))),
    ...[1, 16, 64].flatMap((bits) => creation(qcow2({ 'refcount-bits': bits, version: 'v2' }))),
    ...['zlib', 'zstd'].flatMap((type) => looked(qcow2({ 'compression-type': type }))),
    ...['lzma', 1, null].flatMap((type) => creation(qcow2({ 'compression-type': type }))),
    ...['zlib', 'zstd'].flatMap((type) => creation(qcow2({ 'compression-type': type, version: 'v2' }))),
    ...['off', 'metadata', 'falloc', 'full'].flatMap((preallocation) => looked(qcow2({ preallocation }))),
    ...['none', 1, null].flatMap((preallocation) => creation(qcow2({ preallocation }))),
  );

  same(
    'qcow2: backing files, and the file',
    ...['base.qcow2', 'nowhere', 'DIR/base.qcow2'].flatMap((name) => [
      ...withBacking({ 'backing-file': name, 'backing-fmt': 'qcow2' }),
      ...withBacking({ 'backing-file': name }),
    ]),
    ...['raw', 'nonsense', '', 1].flatMap((format) => [
      ...creation(qcow2({ 'backing-fmt': format })),
      ...creation(qcow2({ 'backing-file': 'base.qcow2', 'backing-fmt': format })),
    ]),
    ...['off', 'metadata', 'falloc', 'full'].flatMap((preallocation) =>
      withBacking({ 'backing-file': 'base.qcow2', 'backing-fmt': 'qcow2', preallocation }),
    ),
    ...['nobody', '', 1, null, [], {}].flatMap((node) => creation(qcow2({ file: node }))),
    ...creation(qcow2({ file: { driver: 'file' } })),
    ...creation(qcow2({ nonsense: 1 })),
    ...creation(qcow2({ filename: 'DIR/x' })),
    NODES,
  );

  same(
    'other drivers, and what is no driver',
    ...['null-co', 'null-aio', 'nbd', 'blkdebug', 'throttle', 'quorum', 'copy-on-read'].flatMap((driver) => [
      ...creation({ driver }),
      ...creation({ driver, size: MIB }),
    ]),
    ...['', 'nonsense', 1, null, [], {}].flatMap((driver) => creation({ driver, size: MIB })),
    ...creation({ size: MIB }),
    command('blockdev-create', { options: file() }),
    command('blockdev-create', { 'job-id': 'j' }),
    ...['', '1j', 'a b', 1].map((id) => command('blockdev-create', { 'job-id': id, options: file() })),
    command('query-jobs'),
  );
});
