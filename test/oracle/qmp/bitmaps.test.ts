// Dirty bitmaps against qemu-storage-daemon: each command right and wrong, what a job makes of a bitmap, and what may be done with one in use.

import { requirePeer } from '../../support/peers.js';
import type { Json } from '../../support/qmp.js';
import { command, comparing, type Setup, type Step, until, untilStatus } from './runner.js';

const SIZE = 4 << 20;
/** Bytes a second: a job at this rate is under way for as long as a script needs. */
const SLOW = 65536;

const files: Setup['files'] = (shop, folder) => {
  const make = (...words: string[]) => shop.must('qemu-img', 'create', '-q', ...words);
  make('-f', 'qcow2', `${folder}/top.qcow2`, String(SIZE));
  // All of it: of zeroes the reference's backup writes more than ours.
  shop.must('qemu-io', '-c', `write -P 1 0 ${SIZE}`, `${folder}/top.qcow2`);
  make('-f', 'qcow2', `${folder}/other.qcow2`, String(SIZE));
  make('-f', 'qcow2', `${folder}/small.qcow2`, '1M');
  make('-f', 'raw', `${folder}/a.raw`, String(SIZE));
};

const add = (name: string, driver: string, file: string): Step =>
  command('blockdev-add', { driver, 'node-name': name, file: { driver: 'file', filename: `DIR/${file}` } });
const GRAPH: Step[] = [
  add('top', 'qcow2', 'top.qcow2'),
  add('other', 'qcow2', 'other.qcow2'),
  add('small', 'qcow2', 'small.qcow2'),
  add('raw', 'raw', 'a.raw'),
  command('blockdev-add', { driver: 'null-co', 'node-name': 'null', size: SIZE, 'read-zeroes': true }),
];
const FLAT = command('query-named-block-nodes', { flat: true });
const bitmap = (verb: string, node: unknown, name: unknown, more: Json = {}): Step =>
  command(`block-dirty-bitmap-${verb}`, { node, name, ...more });
const merge = (node: unknown, target: unknown, bitmaps: unknown): Step =>
  command('block-dirty-bitmap-merge', { node, target, bitmaps });
const digest = (node: unknown, name: unknown): Step => command('x-debug-block-dirty-bitmap-sha256', { node, name });
const VERBS = ['remove', 'clear', 'enable', 'disable'];

/** How far a file reaches is each program's own affair. */
const filter = (text: string): string => text.replace(/"format":"file","virtual-size":\d+/g, '');

describe('qmp against qemu-storage-daemon: bitmaps', () => {
  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-img', 'qemu-io']) requirePeer(this, peer);
  });

  const same = (title: string, ...script: Step[]): void => {
    it(title, comparing([...GRAPH, ...script], { files, filter }));
  };

  same(
    'names, granularities and nodes',
    command('block-dirty-bitmap-add'),
    command('block-dirty-bitmap-add', { node: 'top' }),
    command('block-dirty-bitmap-add', { name: 'a' }),
    bitmap('add', 'nobody', 'a'),
    bitmap('add', '', 'a'),
    bitmap('add', 1, 'a'),
    bitmap('add', 'top', 1),
    bitmap('add', 'top', ''),
    bitmap('add', 'top', 'a', { nonsense: 1 }),
    ...[0, 1, 511, 513, 1000, 256, 2 ** 31, 2 ** 32, 2 ** 40, -512, 'x', '64k', 1.5, null].map((granularity) =>
      bitmap('add', 'top', 'a', { granularity }),
    ),
    bitmap('add', 'top', 'a', { disabled: 'yes' }),
    bitmap('add', 'top', 'a', { persistent: 'yes' }),
    bitmap('add', 'null', 'a', { persistent: true }),
    bitmap('add', 'raw', 'a', { persistent: true }),
    bitmap('add', 'top', 'a'),
    bitmap('add', 'top', 'a'),
    bitmap('add', 'top', 'a', { granularity: 512 }),
    bitmap('add', 'top', 'A', { granularity: 512 }),
    bitmap('add', 'top', ' a b ', { granularity: 4096, disabled: true }),
    bitmap('add', 'top', 'n'.repeat(1023)),
    bitmap('add', 'top', 'm'.repeat(1024)),
    bitmap('add', 'raw', 'a', { persistent: false }),
    bitmap('add', 'small', 'a', { granularity: 2 << 20 }),
    bitmap('add', 'null', 'a', { granularity: 1 << 20 }),
    FLAT,
    ...['top', 'raw', 'small', 'null'].map((node) => digest(node, 'a')),
  );

  same(
    'verbs for what is not there, or is so already',
    bitmap('add', 'top', 'a'),
    ...VERBS.flatMap((verb) => [
      command(`block-dirty-bitmap-${verb}`),
      command(`block-dirty-bitmap-${verb}`, { node: 'top' }),
      command(`block-dirty-bitmap-${verb}`, { name: 'a' }),
      bitmap(verb, 'nobody', 'a'),
      bitmap(verb, 'top', 'nothing'),
      bitmap(verb, 'top', ''),
      bitmap(verb, 'top', 7),
      bitmap(verb, 'other', 'a'),
      bitmap(verb, 'top', 'a', { more: true }),
    ]),
    ...['enable', 'enable', 'disable', 'disable', 'clear', 'clear', 'enable'].flatMap((verb) => [
      bitmap(verb, 'top', 'a'),
      digest('top', 'a'),
    ]),
    FLAT,
    bitmap('remove', 'top', 'a'),
    bitmap('remove', 'top', 'a'),
    bitmap('clear', 'top', 'a'),
    digest('top', 'a'),
    command('x-debug-block-dirty-bitmap-sha256'),
    digest('nobody', 'a'),
    digest(1, 'a'),
    FLAT,
  );

  const written = (target: string): Step[] => [
    command('blockdev-backup', { 'job-id': 'j', device: 'top', target, sync: 'full' }),
    untilStatus('j', 'null'),
  ];

  same(
    'merges',
    bitmap('add', 'other', 'a'),
    bitmap('add', 'other', 'fine', { granularity: 512 }),
    bitmap('add', 'other', 'coarse', { granularity: 1 << 20 }),
    bitmap('add', 'other', 'none', { disabled: true }),
    bitmap('add', 'raw', 'r'),
    bitmap('add', 'small', 's'),
    ...written('other'),
    ...['a', 'fine', 'coarse', 'none'].map((name) => digest('other', name)),
    command('block-dirty-bitmap-merge'),
    command('block-dirty-bitmap-merge', { node: 'other', target: 'a' }),
    merge('other', 'a', 'fine'),
    merge('other', 'a', [1]),
    merge('other', 'a', [{}]),
    merge('other', 'a', [{ node: 'raw' }]),
    merge('other', 'a', [{ node: 'raw', name: 'r', more: 1 }]),
    merge('nobody', 'a', ['fine']),
    merge('other', 'nothing', ['fine']),
    merge('other', 'a', ['nothing']),
    merge('other', 'a', ['fine', 'nothing']),
    merge('other', 'none', [{ node: 'nobody', name: 'r' }]),
    merge('other', 'none', [{ node: 'raw', name: 'nothing' }]),
    merge('other', 'none', [{ node: 'small', name: 's' }]),
    merge('small', 's', [{ node: 'other', name: 'a' }]),
    digest('other', 'none'),
    merge('other', 'none', ['a']),
    digest('other', 'none'),
    bitmap('clear', 'other', 'none'),
    merge('other', 'none', ['fine']),
    digest('other', 'none'),
    bitmap('clear', 'other', 'none'),
    merge('other', 'none', ['coarse']),
    digest('other', 'none'),
    merge('other', 'fine', ['coarse', 'a']),
    digest('other', 'fine'),
    merge('other', 'coarse', ['fine', { node: 'raw', name: 'r' }]),
    digest('other', 'coarse'),
    merge('other', 'a', ['a']),
    digest('other', 'a'),
    merge('raw', 'r', [
      { node: 'other', name: 'a' },
      { node: 'other', name: 'fine' },
    ]),
    digest('raw', 'r'),
    FLAT,
  );

  const backup = (more: Json): Step =>
    command('blockdev-backup', { 'job-id': 'j', device: 'other', target: 'raw', 'auto-dismiss': false, ...more });
  const gone: Step[] = [command('job-dismiss', { id: 'j' }), untilStatus('j', 'null')];

  same(
    'what is wrong with a backup by a bitmap',
    bitmap('add', 'other', 'a'),
    bitmap('add', 'other', 'off', { disabled: true }),
    bitmap('add', 'top', 't'),
    backup({ sync: 'bitmap' }),
    backup({ sync: 'bitmap', 'bitmap-mode': 'always' }),
    backup({ sync: 'bitmap', bitmap: 'a' }),
    backup({ sync: 'bitmap', bitmap: 'nothing', 'bitmap-mode': 'always' }),
    backup({ sync: 'bitmap', bitmap: 't', 'bitmap-mode': 'always' }),
    backup({ sync: 'bitmap', bitmap: 'a', 'bitmap-mode': 'nonsense' }),
    backup({ sync: 'incremental' }),
    backup({ sync: 'incremental', bitmap: 'nothing' }),
    backup({ sync: 'incremental', bitmap: 'a', 'bitmap-mode': 'always' }),
    backup({ sync: 'incremental', bitmap: 'a', 'bitmap-mode': 'never' }),
    backup({ sync: 'none', bitmap: 'a', 'bitmap-mode': 'always' }),
    backup({ sync: 'full', bitmap: 'a' }),
    backup({ sync: 'full', bitmap: 'a', 'bitmap-mode': 'never' }),
    backup({ sync: 'full', 'bitmap-mode': 'always' }),
    backup({ sync: 'top', bitmap: 'a' }),
    command('query-jobs'),
    FLAT,
  );

  for (const [sync, mode] of [
    ['bitmap', 'on-success'],
    ['bitmap', 'always'],
    ['bitmap', 'never'],
    ['full', 'on-success'],
    ['full', 'always'],
    ['top', 'on-success'],
    ['incremental', undefined],
  ] as const)
    same(
      `a backup by a bitmap: ${sync}, ${mode ?? 'no mode'}`,
      bitmap('add', 'other', 'a'),
      ...written('other'),
      digest('other', 'a'),
      backup({ sync, bitmap: 'a', 'bitmap-mode': mode }),
      untilStatus('j', 'concluded'),
      ...gone,
      digest('other', 'a'),
      FLAT,
      // The second one finds what the first one left, and is cancelled.
      ...written('other'),
      backup({ sync, bitmap: 'a', 'bitmap-mode': mode, speed: SLOW }),
      ...VERBS.map((verb) => bitmap(verb, 'other', 'a')),
      bitmap('add', 'other', 'a'),
      bitmap('add', 'other', 'b'),
      merge('other', 'a', ['b']),
      merge('other', 'b', ['a']),
      command('job-cancel', { id: 'j' }),
      untilStatus('j', 'concluded'),
      ...gone,
      // Where it counts what was copied, it depends on the time.
      ...(mode === 'always' ? [] : [digest('other', 'a'), FLAT]),
      ...VERBS.map((verb) => bitmap(verb, 'other', 'a')),
    );

  same(
    'an export has it in use',
    command('nbd-server-start', { addr: { type: 'unix', data: { path: 'DIR/nbd' } } }),
    bitmap('add', 'top', 'a'),
    bitmap('add', 'top', 'off', { disabled: true }),
    bitmap('add', 'other', 'o'),
    bitmap('add', 'small', 's', { disabled: true }),
    ...[
      ['a', 'off'],
      ['off', 'off'],
      ['nothing'],
      [''],
      'off',
      [1],
      [{ node: 'top' }],
      [{ node: 'nobody', name: 'o' }],
      [{ node: 'other', name: 'x' }],
    ].map((bitmaps) => command('block-export-add', { type: 'nbd', id: 'e', 'node-name': 'top', bitmaps })),
    command('query-block-exports'),
    command('block-export-add', { type: 'nbd', id: 'f', name: 'f', 'node-name': 'top', bitmaps: ['off'] }),
    command('block-export-add', {
      ...{ type: 'nbd', id: 'g', name: 'g', 'node-name': 'other' },
      bitmaps: [{ node: 'small', name: 's' }],
    }),
    command('query-block-exports'),
    FLAT,
    ...VERBS.map((verb) => bitmap(verb, 'top', 'off')),
    merge('top', 'off', ['a']),
    digest('top', 'off'),
    command('blockdev-backup', {
      ...{ 'job-id': 'j', device: 'top', target: 'raw' },
      ...{ sync: 'bitmap', bitmap: 'off', 'bitmap-mode': 'never' },
    }),
    command('blockdev-del', { 'node-name': 'top' }),
    command('block-export-del', { id: 'e' }),
    until('BLOCK_EXPORT_DELETED'),
    command('block-export-del', { id: 'g' }),
    until('BLOCK_EXPORT_DELETED'),
    ...VERBS.map((verb) => bitmap(verb, 'top', 'off')),
    FLAT,
  );
});
