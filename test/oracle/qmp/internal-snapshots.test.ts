// Internal snapshots by QMP: the commands and the action of a transaction beside qemu-storage-daemon, the jobs beside a machine without a guest.

import { requirePeer } from '../../support/peers.js';
import type { Json } from '../../support/qmp.js';
import { command, comparing, type Setup, SO_FAR, type Step, untilStatus } from './runner.js';

const SIZE = 1 << 20;

const files: Setup['files'] = (shop, folder) => {
  for (const name of ['disk', 'other', 'narrow']) {
    const options = name === 'narrow' ? ['-o', 'refcount_bits=1'] : [];
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', ...options, `${folder}/${name}.qcow2`, String(SIZE));
    shop.qemuIo(`${folder}/${name}.qcow2`, 'write 0 64k');
  }
  shop.must('qemu-img', 'create', '-q', '-f', 'raw', `${folder}/a.raw`, String(SIZE));
};

const add = (name: string, words: Json): Step => command('blockdev-add', { 'node-name': name, ...words });
const image = (name: string, words: Json = {}): Step =>
  add(name, {
    driver: 'qcow2',
    file: { driver: 'file', filename: `DIR/${name}.qcow2`, 'node-name': `${name}-file` },
    ...words,
  });
const GRAPH: Step[] = [
  image('disk'),
  image('other', { 'read-only': true }),
  image('narrow'),
  add('raw', { driver: 'raw', file: { driver: 'file', filename: 'DIR/a.raw' } }),
];
const STATE = command('query-named-block-nodes', { flat: true });

const keep = (device: string, name: string): Step => command('blockdev-snapshot-internal-sync', { device, name });
const forget = (device: string, words: Json): Step =>
  command('blockdev-snapshot-delete-internal-sync', { device, ...words });
const keeping = (device: string, name: string): Json => ({
  type: 'blockdev-snapshot-internal-sync',
  data: { device, name },
});

const COMMANDS: Step[] = [
  ...GRAPH,
  keep('disk', 'a'),
  keep('disk', 'a'),
  keep('disk', ''),
  keep('disk', '1'),
  keep('gone', 'a'),
  keep('raw', 'a'),
  keep('disk-file', 'a'),
  keep('other', 'a'),
  keep('narrow', 'a'),
  command('blockdev-snapshot-internal-sync', { device: 'disk' }),
  STATE,
  forget('disk', {}),
  forget('disk', { name: 'b' }),
  forget('disk', { id: '9' }),
  forget('disk', { id: '1', name: '1' }),
  forget('raw', { id: '1' }),
  forget('gone', { id: '1' }),
  forget('disk', { id: '1', name: 'a' }),
  forget('disk', { name: '1' }),
  STATE,
];

const TRANSACTIONS: Step[] = [
  ...GRAPH,
  command('transaction', { actions: [keeping('disk', 'a'), { type: 'abort', data: {} }] }),
  STATE,
  command('transaction', { actions: [keeping('disk', 'a'), keeping('narrow', 'a')] }),
  STATE,
  command('transaction', { actions: [keeping('disk', 'a'), keeping('disk', 'b')] }),
  command('transaction', { actions: [keeping('disk', 'a')] }),
  command('transaction', { actions: [keeping('disk', 'c')], properties: { 'completion-mode': 'grouped' } }),
  STATE,
];

let jobs = 0;
const job = (name: string, words: Json): Step[] => {
  const id = `j${jobs++}`;
  return [
    SO_FAR,
    command(name, { 'job-id': id, ...words }),
    untilStatus(id, 'concluded'),
    command('query-jobs'),
    command('job-dismiss', { id }),
  ];
};

/** A machine that is there keeps its state with a snapshot, so that only what fails before that is alike; and what has nothing to do with it. */
const JOBS: Step[] = [
  ...GRAPH,
  ...job('snapshot-save', { tag: 't', vmstate: 'disk', devices: [] }),
  ...job('snapshot-save', { tag: 't', vmstate: 'disk', devices: ['disk', 'gone'] }),
  ...job('snapshot-save', { tag: 't', vmstate: 'disk', devices: ['disk', 'raw'] }),
  ...job('snapshot-save', { tag: 't', vmstate: 'disk', devices: ['disk', 'disk-file'] }),
  ...job('snapshot-save', { tag: 't', vmstate: 'gone', devices: ['disk'] }),
  keep('disk', 'a'),
  ...job('snapshot-save', { tag: 'a', vmstate: 'disk', devices: ['disk'] }),
  ...job('snapshot-load', { tag: 'b', vmstate: 'disk', devices: ['disk'] }),
  ...job('snapshot-load', { tag: 'a', vmstate: 'disk', devices: ['disk', 'narrow'] }),
  ...job('snapshot-load', { tag: 'a', vmstate: 'narrow', devices: ['disk'] }),
  ...job('snapshot-delete', { tag: 'b', devices: ['disk', 'narrow'] }),
  ...job('snapshot-delete', { tag: 'a', devices: ['gone'] }),
  ...job('snapshot-delete', { tag: 'a', devices: ['raw'] }),
  ...job('snapshot-delete', { tag: 'a', devices: [] }),
  ...job('snapshot-delete', { tag: 'a', devices: ['disk', 'narrow'] }),
  STATE,
];

/** When a snapshot was made (the reference's daemon takes the time of day for the machine's clock), and where files end. */
const filter = (text: string): string =>
  text.replace(/"(date|vm-clock)-n?sec":\d+/g, '"$1"').replace(/("format":"file","virtual-size"):\d+/g, '$1');

describe('QMP beside the reference: internal snapshots', function () {
  this.timeout(60_000);

  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-system-x86_64']) requirePeer(this, peer);
  });

  it('commands', comparing(COMMANDS, { files, filter }));
  it('actions of a transaction', comparing(TRANSACTIONS, { files, filter }));
  // The machine has events of its own: it stops meanwhile.
  it('jobs', comparing(JOBS, { files, filter, machine: true, events: false }));
});
