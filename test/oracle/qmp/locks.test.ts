// Which nodes are read-only, and which locks the daemon holds on each image file (what it does with it, and what it does not let others do), while
// jobs work on it, below filters, and after snapshots and reopening: equal to the reference's.
//
//   byte 100 + n    locked: the permission is used        byte 200 + n    locked: it is not left to others
//
// All scenes run in one process of each daemon: `@` in names stands for the scene.

import { copyFileSync, mkdirSync } from 'node:fs';
import { expect } from 'chai';
import { openRealHost } from '../../../src/host/real/index.js';
import { Workshop } from '../../support/cli.js';
import { requirePeer } from '../../support/peers.js';
import { type Json, StorageDaemon } from '../../support/qmp.js';
import { OURS } from './runner.js';

const FILES = ['base.qcow2', 'mid.qcow2', 'top.qcow2', 'over.qcow2', 'spare.qcow2', 'a.raw', 'b.raw'];
const PERMISSIONS = ['read', 'write', 'unchanged', 'resize'];

/** A command; or, where the states are looked at, the job's state that comes first. */
type Step = [execute: string, words: Json] | { look: string | null };

const LOOK: Step = { look: null };
const lookWhen = (status: string): Step => ({ look: status });
const file = (name: string, more: Json = {}): Json => ({ driver: 'file', filename: `DIR/@${name}`, ...more });
const qcow2 = (name: string, more: Json = {}): Json => ({
  driver: 'qcow2',
  'node-name': `@${name}`,
  file: file(`${name}.qcow2`),
  ...more,
});
const raw = (name: string, more: Json = {}): Json => ({
  driver: 'raw',
  'node-name': `@${name}`,
  file: file(`${name}.raw`),
  ...more,
});
const add = (options: Json): Step => ['blockdev-add', options];
const CHAIN = add(qcow2('top', { backing: qcow2('mid', { backing: qcow2('base') }) }));
const OVER = add(qcow2('over', { backing: null }));
const job = (command: string, words: Json, ...states: string[]): Step[] => [
  [command, { 'job-id': '@j', 'auto-finalize': false, ...words }],
  ...states.map(lookWhen),
];
const FINALIZE: Step[] = [['job-finalize', { id: '@j' }], lookWhen('null')];
const COMPLETE: Step[] = [['job-complete', { id: '@j' }], lookWhen('pending'), ...FINALIZE];
const CANCEL: Step[] = [['job-cancel', { id: '@j' }], lookWhen('null')];
const SNAPSHOT: Step[] = [LOOK, OVER, ['blockdev-snapshot', { node: '@flt', overlay: '@over' }], LOOK];
const EXPORT = (name: string, writable: boolean): Step => [
  'block-export-add',
  { type: 'nbd', id: `@${name}`, 'node-name': `@${name}`, writable },
];

const throttled = (below: unknown): Json => ({
  driver: 'throttle',
  'node-name': '@flt',
  'throttle-group': 'g',
  file: below,
});
const filters: Record<string, Json> = {
  throttle: throttled(qcow2('base')),
  'throttle over quorum': throttled({
    driver: 'quorum',
    'node-name': '@q',
    'vote-threshold': 1,
    children: [qcow2('base')],
  }),
  'throttle over an image that says whether it is read-only': throttled(qcow2('base', { 'read-only': false })),
  'copy-on-read': { driver: 'copy-on-read', 'node-name': '@flt', file: qcow2('base') },
  blkdebug: { driver: 'blkdebug', 'node-name': '@flt', image: qcow2('base') },
  compress: { driver: 'compress', 'node-name': '@flt', file: qcow2('base') },
  preallocate: { driver: 'preallocate', 'node-name': '@flt', file: qcow2('base') },
  'copy-before-write': {
    driver: 'copy-before-write',
    'node-name': '@flt',
    file: qcow2('base'),
    target: qcow2('spare'),
  },
  quorum: { driver: 'quorum', 'node-name': '@flt', 'vote-threshold': 1, children: [qcow2('base')] },
  blklogwrites: { driver: 'blklogwrites', 'node-name': '@flt', file: qcow2('base'), log: file('a.raw') },
  raw: { driver: 'raw', 'node-name': '@flt', file: qcow2('base') },
};

const scenes: Record<string, Step[]> = {
  'a chain that nobody uses': [CHAIN, LOOK],
  'an image that is shared by force': [add(qcow2('top', { 'read-only': true, 'force-share': true })), LOOK],
  'a part of a file': [add(raw('a', { size: 65536 })), LOOK, EXPORT('a', true), LOOK],
  exports: [
    CHAIN,
    EXPORT('top', false),
    LOOK,
    add(raw('a')),
    EXPORT('a', true),
    add(raw('b')),
    EXPORT('b', false),
    LOOK,
  ],
  'nodes that are reopened': [
    CHAIN,
    ['blockdev-reopen', { options: [qcow2('top', { backing: '@mid', 'read-only': true })] }],
    LOOK,
    ['blockdev-reopen', { options: [qcow2('top', { backing: '@mid' })] }],
    LOOK,
  ],
  'commit of the active layer': [CHAIN, ...job('block-commit', { device: '@top' }, 'ready'), ...COMPLETE],
  'commit of the active layer, cancelled': [CHAIN, ...job('block-commit', { device: '@top' }, 'ready'), ...CANCEL],
  'commit of a layer below': [
    CHAIN,
    ...job('block-commit', { device: '@top', 'top-node': '@mid' }, 'pending'),
    ...FINALIZE,
  ],
  ...Object.fromEntries(
    ['null-co', 'null-aio'].map((driver) => [
      `commit into ${driver}`,
      [
        add({ driver, 'node-name': '@null', size: 1 << 20, 'read-zeroes': true }),
        add(qcow2('top', { backing: qcow2('mid', { backing: qcow2('base', { backing: '@null' }) }) })),
        ...job('block-commit', { device: '@top', 'top-node': '@mid', 'base-node': '@null' }, 'pending'),
        ...FINALIZE,
      ],
    ]),
  ),
  'a snapshot of null-co': [
    add({ driver: 'null-co', 'node-name': '@null', size: 1 << 20 }),
    [
      'blockdev-snapshot-sync',
      { 'node-name': '@null', 'snapshot-file': 'DIR/@new.qcow2', 'snapshot-node-name': '@new' },
    ],
    LOOK,
  ],
  stream: [CHAIN, ...job('block-stream', { device: '@top' }, 'pending'), ...FINALIZE],
  'stream of a layer below': [CHAIN, ...job('block-stream', { device: '@mid' }, 'pending'), ...FINALIZE],
  mirror: [
    CHAIN,
    OVER,
    ...job('blockdev-mirror', { device: '@top', target: '@over', sync: 'full' }, 'ready'),
    ...COMPLETE,
  ],
  'mirror of a raw image': [
    ...[raw('a'), raw('b')].map(add),
    ...job('blockdev-mirror', { device: '@a', target: '@b', sync: 'full' }, 'ready'),
    ...CANCEL,
  ],
  'mirror that replaces what a filter filters': [
    add(throttled(qcow2('base'))),
    OVER,
    ...job('blockdev-mirror', { device: '@flt', target: '@over', sync: 'full', replaces: '@base' }, 'ready'),
    ...COMPLETE,
  ],
  backup: [
    ...[raw('a'), raw('b')].map(add),
    EXPORT('a', true),
    ...job('blockdev-backup', { device: '@a', target: '@b', sync: 'full' }, 'pending'),
    ...FINALIZE,
  ],
  ...Object.fromEntries(
    Object.entries(filters).map(([name, options]) => [`a snapshot over ${name}`, [add(options), ...SNAPSHOT]]),
  ),
  'a snapshot of an image over a node': [
    add(file('base.qcow2', { 'node-name': '@file' })),
    add(qcow2('base', { 'node-name': '@flt', file: '@file' })),
    ...SNAPSHOT,
  ],
  'a snapshot of a filter over a node': [add(qcow2('base')), add(throttled('@base')), ...SNAPSHOT],
  'a snapshot with a name, of a filter over a node': [
    add(qcow2('base')),
    add(throttled('@base')),
    [
      'blockdev-snapshot-sync',
      { 'node-name': '@flt', 'snapshot-file': 'DIR/@over.qcow2', 'snapshot-node-name': '@over' },
    ],
    LOOK,
  ],
  'a snapshot that is undone': [
    add(filters['throttle']),
    OVER,
    [
      'transaction',
      {
        actions: [
          { type: 'blockdev-snapshot', data: { node: '@flt', overlay: '@over' } },
          { type: 'block-dirty-bitmap-add', data: { node: 'nobody', name: 'b' } },
        ],
      },
    ],
    LOOK,
  ],
};

describe('qmp against qemu-storage-daemon: image locks', function () {
  this.timeout(60_000);
  const host = openRealHost();
  let shop: Workshop;
  const sides: { daemon: StorageDaemon; folder: string }[] = [];

  before(async function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-img']) requirePeer(this, peer);
    shop = await Workshop.open();
    for (const name of FILES) shop.must('qemu-img', 'create', '-q', '-f', name.split('.')[1], name, '1M');
    for (const [name, program] of [['theirs', ['qemu-storage-daemon']] as const, ['ours', OURS(shop)] as const]) {
      const folder = shop.path(name);
      mkdirSync(folder);
      const daemon = await StorageDaemon.start(`${folder}/qmp`, ['--object', 'throttle-group,id=g'], program);
      sides.push({ daemon, folder });
      const addr = { type: 'unix', data: { path: `${folder}/nbd` } };
      await daemon.execute('nbd-server-start', { addr });
    }
  });

  after(async () => {
    for (const { daemon } of sides) daemon.kill();
    await host.close();
    shop.remove();
  });

  for (const [i, [title, steps]] of Object.entries(scenes).entries()) {
    it(title, async () => {
      const [theirs, ours] = [await play(sides[0], `s${i}-`, steps), await play(sides[1], `s${i}-`, steps)];
      expect(ours).to.deep.equal(theirs);
    });
  }

  async function play({ daemon, folder }: (typeof sides)[0], scene: string, steps: Step[]): Promise<unknown[]> {
    for (const name of FILES) copyFileSync(shop.path(name), `${folder}/${scene}${name}`);
    const placed = (value: unknown) =>
      JSON.parse(JSON.stringify(value).replaceAll('DIR', folder).replaceAll('@', scene));
    const seen: unknown[] = [];
    for (const step of steps) {
      if (!('look' in step)) {
        const { error } = await daemon.ask({ execute: step[0], arguments: placed(step[1]) });
        if (error !== undefined) seen.push(error);
        continue;
      }
      if (step.look !== null) await daemon.await('JOB_STATUS_CHANGE', { id: `${scene}j`, status: step.look }, []);
      seen.push({ ...(await readOnlyNodes({ daemon, folder }, scene)), ...(await locksOn(folder, scene)) });
    }
    return seen;
  }

  /** Nodes by their names, those that have none by their drivers and the last part of what they are called. */
  async function readOnlyNodes({ daemon, folder }: (typeof sides)[0], scene: string): Promise<Json> {
    const nodes = (await daemon.execute('query-named-block-nodes', { flat: true })) as Json[];
    const called = nodes
      .filter((node) => JSON.stringify(node).includes(scene))
      .map((node) => {
        const name = String(node['node-name']);
        const last = String(node['file'])
          .replace(/^.*\//, '')
          .replace(/["}]+$/, '');
        const backing = String((node['image'] as Json)['backing-filename']).replace(`${folder}/`, '');
        return [name.startsWith('#') ? `${node['drv']} ${last}` : name, `read-only ${node['ro']}, over ${backing}`];
      });
    return Object.fromEntries(called);
  }

  async function locksOn(folder: string, scene: string): Promise<Json> {
    const locks: Json = {};
    for (const name of FILES) {
      const open = await host.open(`${folder}/${scene}${name}`, { writable: true });
      const held = (base: number) =>
        PERMISSIONS.filter((_, i) => open.lockConflicts('exclusive', base + i, 1)).join(' ');
      locks[name] = `uses ${held(100)}; keeps from others ${held(200)}`;
      await open.close();
    }
    return locks;
  }
});
