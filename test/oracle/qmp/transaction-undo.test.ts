// Each action of a transaction, alone, twice, and before and after each other one, with and without a failure at the end, in both completion modes,
// against qemu-storage-daemon: the answers, and the graph, the bitmaps and the jobs that are left.

import { requirePeer } from '../../support/peers.js';
import type { Json } from '../../support/qmp.js';
import { command, comparing, type Setup, SO_FAR, type Step, untilIfDone } from './runner.js';

const SIZE = 1 << 20;

const files: Setup['files'] = (shop, folder) => {
  for (const name of ['disk', 'over']) {
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', `${folder}/${name}.qcow2`, String(SIZE));
  }
};

type Action = { type: string; data: Json };
const bitmap = (verb: string, name: string, more: Json = {}): Action => ({
  type: `block-dirty-bitmap-${verb}`,
  data: { node: 'disk', name, ...more },
});
/** One of each kind. What they leave is taken away by `CLEARED`. */
const ACTIONS: readonly Action[] = [
  bitmap('add', 'new', { granularity: 4096 }),
  bitmap('remove', 'old'),
  bitmap('clear', 'old'),
  bitmap('enable', 'off'),
  bitmap('disable', 'old'),
  { type: 'block-dirty-bitmap-merge', data: { node: 'disk', target: 'off', bitmaps: ['old'] } },
  {
    type: 'blockdev-backup',
    data: { 'job-id': 'j', device: 'disk', target: 'target', sync: 'full', 'auto-dismiss': false },
  },
  { type: 'blockdev-snapshot', data: { node: 'disk', overlay: 'over' } },
  {
    type: 'blockdev-snapshot-sync',
    data: { 'node-name': 'disk', 'snapshot-file': 'DIR/sync.qcow2', 'snapshot-node-name': 'sync' },
  },
];
const ABORT: Action = { type: 'abort', data: {} };

const add = (name: string, words: Json): Step => command('blockdev-add', { 'node-name': name, ...words });
const image = (name: string): Json => ({ driver: 'qcow2', file: { driver: 'file', filename: `DIR/${name}.qcow2` } });
const GRAPH: Step[] = [
  add('disk', image('disk')),
  add('over', { ...image('over'), backing: null }),
  add('target', { driver: 'null-co', size: SIZE }),
  command('block-dirty-bitmap-add', { node: 'disk', name: 'old' }),
  command('block-dirty-bitmap-add', { node: 'disk', name: 'off', disabled: true }),
];
/** A snapshot keeps the disk: what lies over it goes first. */
const CLEARED: Step[] = ['sync', 'over', 'disk', 'over', 'target'].map((node) =>
  command('blockdev-del', { 'node-name': node }),
);
const STATE: Step[] = [command('query-named-block-nodes', { flat: true }), command('query-jobs')];

const transaction = (actions: readonly Action[], mode?: string): Step[] => [
  // A job that was undone has concluded, too.
  SO_FAR,
  command('transaction', { actions, ...(mode !== undefined && { properties: { 'completion-mode': mode } }) }),
  ...(actions.some(({ type }) => type === 'blockdev-backup')
    ? [untilIfDone('JOB_STATUS_CHANGE', { id: 'j', status: 'concluded' })]
    : []),
  ...STATE,
  command('job-dismiss', { id: 'j' }),
];

/** Here, a node whose backing file is another one than its header says keeps its plain name. */
const filter = (text: string): string => text.replace(/"json:(\\.|[^"\\])*"|"DIR\/over.qcow2"/g, '"NAME"');

/** The reference's daemon ends where these are grouped. */
const CRASHES = ['block-dirty-bitmap-enable', 'block-dirty-bitmap-disable'];

describe('qmp against qemu-storage-daemon: actions of a transaction', () => {
  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-img']) requirePeer(this, peer);
  });

  const same = (title: string, ...scripts: Step[][]): void => {
    it(
      title,
      comparing(
        scripts.flatMap((script) => [...GRAPH, ...script, ...CLEARED]),
        { files, filter },
      ),
    );
  };

  for (const first of ACTIONS) {
    same(
      first.type,
      transaction([first, ABORT]),
      transaction([ABORT, first]),
      ...(CRASHES.includes(first.type)
        ? []
        : [transaction([first], 'grouped'), transaction([first, ABORT], 'grouped')]),
      ...ACTIONS.map((second) => [
        ...transaction([first, second, ABORT]),
        ...transaction([first, second], 'individual'),
      ]),
    );
  }
});
