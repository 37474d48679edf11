// What a job holds of the graph while it works, link by link, against qemu-storage-daemon: who uses which node as what, what that needs, and what it
// leaves to others (`x-debug-query-block-graph`).

import { requirePeer } from '../../support/peers.js';
import { command, comparing, type Setup, type Step, until, untilStatus } from './runner.js';

const SIZE = 1 << 20;

const files: Setup['files'] = (shop, folder) => {
  const make = (...words: string[]) => shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', ...words);
  make(`${folder}/base.qcow2`, String(SIZE));
  shop.must('qemu-io', '-c', 'write -P 1 0 512K', `${folder}/base.qcow2`);
  for (const [name, below] of [
    ['mid', 'base'],
    ['top', 'mid'],
    ['over', 'top'],
  ]) {
    make('-b', `${folder}/${below}.qcow2`, '-F', 'qcow2', `${folder}/${name}.qcow2`);
  }
};

const image = (name: string, more = {}): Step =>
  command('blockdev-add', {
    driver: 'qcow2',
    'node-name': name,
    file: { driver: 'file', 'node-name': `${name}-file`, filename: `DIR/${name}.qcow2` },
    ...more,
  });

const GRAPH: Step[] = [
  command('nbd-server-start', { addr: { type: 'unix', data: { path: 'DIR/nbd' } } }),
  image('base', { 'read-only': true }),
  image('mid', { 'read-only': true, backing: 'base' }),
  image('top', { backing: 'mid' }),
  command('blockdev-add', { driver: 'null-co', 'node-name': 'x', size: SIZE }),
  command('blockdev-add', { driver: 'null-co', 'node-name': 'y', size: SIZE }),
];
/** The disk as the overlay of itself that a backup writes to. */
const OVERLAY = image('over', { backing: 'top' });
const EDGES = command('x-debug-query-block-graph');
const exported = (writable: boolean, name = 'top'): Step =>
  command('block-export-add', { type: 'nbd', id: name, name, 'node-name': name, writable });

interface Graph {
  nodes: { id: number; type: string; name: string }[];
  edges: { parent: number; child: number; name: string; perm: string[]; 'shared-perm': string[] }[];
}

/** Numbers and order are each program's own. */
const byNames: Setup['filter'] = (text) => {
  const { return: graph } = JSON.parse(text) as { return?: Graph };
  if (graph?.edges === undefined) return text;
  const names = new Map(graph.nodes.map(({ id, type, name }) => [id, `${type} '${name}'`]));
  const lines = graph.edges.map(({ parent, child, name, perm, 'shared-perm': shared }) =>
    known([names.get(parent), name, names.get(child), perm.sort(), '; others', shared.sort()].join(' ')),
  );
  return `\n${lines.sort().join('\n')}`;
};

/**
 * As long as a commit is under way, the image above its top is not resized here. And what a format needs of its file is here what it could do to it,
 * whatever its users do.
 */
function known(edge: string): string {
  if (edge.includes(" file block-driver '") && edge.includes("-file' ")) return edge.replace(/-file' .*/, "-file'");
  return edge.startsWith("block-job 'c' main node") ? edge.replace(',resize', '') : edge;
}

const PENDING = until('BLOCK_JOB_PENDING');
const RUNNING = untilStatus('j', 'running');
const KINDS: Record<string, Step[]> = {
  mirror: [
    command('blockdev-mirror', { 'job-id': 'j', device: 'top', target: 'x', sync: 'full' }),
    until('BLOCK_JOB_READY'),
  ],
  'commit of the active layer': [command('block-commit', { 'job-id': 'j', device: 'top' }), until('BLOCK_JOB_READY')],
  commit: [
    command('block-commit', { 'job-id': 'c', device: 'top', 'top-node': 'mid', 'auto-finalize': false }),
    PENDING,
  ],
  backup: [command('blockdev-backup', { 'job-id': 'j', device: 'top', target: 'x', sync: 'none' }), RUNNING],
  'backups, two of one source': [
    command('blockdev-backup', { 'job-id': 'j', device: 'top', target: 'x', sync: 'none' }),
    command('blockdev-backup', { 'job-id': 'k', device: 'top', target: 'y', sync: 'none' }),
    RUNNING,
    untilStatus('k', 'running'),
  ],
  'backup into an overlay of its source': [
    OVERLAY,
    command('blockdev-backup', { 'job-id': 'j', device: 'top', target: 'over', sync: 'none' }),
    RUNNING,
  ],
  stream: [command('block-stream', { 'job-id': 'j', device: 'top', 'auto-finalize': false }), PENDING],
  'stream, down to a base': [
    command('block-stream', { 'job-id': 'j', device: 'top', 'base-node': 'base', 'auto-finalize': false }),
    PENDING,
  ],
  'stream into a backing node': [
    command('block-stream', { 'job-id': 'j', device: 'mid', 'auto-finalize': false }),
    PENDING,
  ],
};

describe("qmp against qemu-storage-daemon: jobs' links", () => {
  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-img', 'qemu-io']) requirePeer(this, peer);
  });

  const same = (title: string, ...script: Step[]): void => {
    it(title, comparing([...GRAPH, ...script], { files, filter: byNames, events: false }));
  };

  same('without a job', EDGES, exported(true), EDGES);
  for (const [title, start] of Object.entries(KINDS)) {
    const named = start.map((step) =>
      'execute' in step && /^block(dev)?-(mirror|backup|commit|stream)/.test(step.execute)
        ? { ...step, arguments: { ...step.arguments, 'filter-node-name': `f-${step.arguments?.['job-id']}` } }
        : step,
    );
    same(title, ...named, EDGES);
    same(`${title}; a guest writes to it`, exported(true), ...named, EDGES);
    same(`${title}; a guest reads it`, exported(false), ...named, EDGES);
  }
});
