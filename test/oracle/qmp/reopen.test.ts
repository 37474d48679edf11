// blockdev-reopen against qemu-storage-daemon: what can be changed and what cannot, of one node and of several, and its words.

import { requirePeer } from '../../support/peers.js';
import { command, comparing, type Setup, type Step, until } from './runner.js';

type Options = Record<string, unknown>;

const files: Setup['files'] = (shop, folder) => {
  const make = (...words: string[]) => shop.must('qemu-img', 'create', '-q', ...words);
  for (const name of ['a', 'b', 'base']) make('-f', 'qcow2', `${folder}/${name}.qcow2`, '1M');
  make('-f', 'qcow2', '-b', `${folder}/base.qcow2`, '-F', 'qcow2', `${folder}/top.qcow2`);
  for (const name of ['r', 'other']) make('-f', 'raw', `${folder}/${name}.raw`, '1M');
};

const FILE: Options = { driver: 'file', 'node-name': 'f', filename: 'DIR/r.raw' };
const OTHER: Options = { driver: 'file', 'node-name': 'other', filename: 'DIR/other.raw' };
const RAW: Options = { driver: 'raw', 'node-name': 'r', file: 'f' };
const INLINE: Options = { driver: 'raw', 'node-name': 'r', file: FILE };
const A_FILE: Options = { driver: 'file', 'node-name': 'af', filename: 'DIR/a.qcow2' };
const A: Options = { driver: 'qcow2', 'node-name': 'a', file: 'af' };
const image = (name: string, more: Options = {}): Options => ({
  driver: 'qcow2',
  'node-name': name,
  file: { driver: 'file', filename: `DIR/${name}.qcow2` },
  ...more,
});
const BASE = image('base', { 'read-only': true });
const TOP = image('top', { backing: 'base' });
const IMPLICIT = image('top');

const without = (options: Options, name: string): Options => {
  const { [name]: _, ...rest } = options;
  return rest;
};
const add = (options: Options): Step => command('blockdev-add', options);
const reopen = (...options: Options[]): Step => command('blockdev-reopen', { options });

describe('qmp against qemu-storage-daemon: blockdev-reopen', () => {
  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-img']) requirePeer(this, peer);
  });

  /** Opens `nodes`, reopens, and looks at all nodes after each time. */
  const same = (title: string, nodes: readonly Options[], ...script: Step[]): void => {
    const look = command('query-named-block-nodes', { flat: true });
    const reopens = (step: Step) => 'execute' in step && step.execute === 'blockdev-reopen';
    const steps = script.flatMap((step) => (reopens(step) ? [step, look] : [step]));
    it(title, comparing([...nodes.map(add), ...steps], { files, filter, events: false }));
  };
  /** The order of nodes, what an image says of itself, and the generated names are not compared here. */
  const filter = (text: string): string => shownNodes(text);

  same('what names no node', [FILE], reopen(without(FILE, 'node-name')), reopen({ ...FILE, 'node-name': 'x' }));
  same(
    'what stays of a file',
    [FILE],
    reopen({ ...FILE, driver: 'host_device' }),
    reopen({ driver: 'null-co', 'node-name': 'f' }),
    reopen({ ...FILE, filename: 'DIR/other.raw' }),
    reopen({ ...FILE, filename: 'DIR/./r.raw' }),
    reopen(without(FILE, 'filename')),
    reopen({ ...FILE, locking: 'off' }),
    reopen({ ...FILE, locking: 'auto' }),
    reopen({ ...FILE, aio: 'threads' }),
    reopen({ ...FILE, 'force-share': true, 'read-only': true }),
    reopen(FILE),
  );
  same(
    'what changes of a file',
    [FILE],
    reopen({ ...FILE, 'read-only': true }),
    reopen(FILE),
    reopen({ ...FILE, 'detect-zeroes': 'on' }),
    reopen({ ...FILE, 'detect-zeroes': 'unmap' }),
    reopen({ ...FILE, 'detect-zeroes': 'unmap', discard: 'unmap' }),
    reopen({ ...FILE, cache: { direct: true } }),
    reopen({ ...FILE, cache: { 'no-flush': true } }),
    reopen({ ...FILE, 'auto-read-only': true }),
    reopen({ ...FILE, 'auto-read-only': true, 'read-only': true, cache: { direct: true } }),
    reopen(FILE),
    reopen(FILE, FILE),
  );
  const given: Options = { ...FILE, locking: 'on' };
  same('what was given and is left out', [given], reopen(given), reopen({ ...given, locking: 'off' }), reopen(FILE));
  const NULL: Options = { driver: 'null-co', 'node-name': 'n', size: 1 << 20 };
  same(
    'a node of null-co',
    [NULL],
    reopen(NULL),
    reopen({ ...NULL, size: 2 << 20 }),
    reopen(without(NULL, 'size')),
    reopen({ ...NULL, 'read-zeroes': true }),
    reopen({ ...NULL, 'read-only': true, cache: { direct: true } }),
  );
  same(
    'a child by name',
    [FILE, RAW],
    reopen(RAW),
    reopen({ ...RAW, file: 'x' }),
    reopen({ ...RAW, file: { driver: 'file', filename: 'DIR/r.raw' } }),
    reopen({ ...RAW, backing: null }),
    reopen({ ...RAW, 'read-only': true }),
    reopen({ ...FILE, 'read-only': true }),
    reopen(RAW, { ...FILE, 'read-only': true }),
    reopen({ ...RAW, 'read-only': true, cache: { direct: true } }, FILE),
    reopen(without(RAW, 'file')),
  );
  same(
    'a child of its own inherits',
    [INLINE],
    reopen(INLINE),
    reopen({ ...INLINE, file: 'f' }),
    reopen({ ...INLINE, 'read-only': true }),
    reopen({ ...INLINE, file: 'f' }),
    reopen(INLINE),
    reopen({ ...INLINE, 'read-only': true, file: 'f' }),
    reopen({ ...INLINE, file: 'f', cache: { direct: true } }),
    reopen({ ...INLINE, file: 'f' }),
    reopen({ ...INLINE, file: 'f', cache: { direct: false, 'no-flush': true } }),
    reopen({ ...INLINE, file: { ...FILE, 'read-only': true } }),
    reopen({ ...INLINE, file: { ...FILE, filename: 'DIR/other.raw' } }),
    reopen({ ...INLINE, file: { ...FILE, 'node-name': 'zz' } }),
    reopen({ ...INLINE, file: without(FILE, 'node-name') }),
  );
  same(
    'an image and its file, each by itself and together',
    [A_FILE, A],
    reopen({ ...A_FILE, 'read-only': true }),
    reopen({ ...A, 'read-only': true }),
    reopen({ ...A_FILE, 'read-only': true }),
    reopen(A),
    reopen(A, A_FILE),
    reopen({ ...A_FILE, 'read-only': true }, { ...A, 'read-only': true }),
    reopen(A_FILE, A),
  );
  same(
    'options of qcow2',
    [A_FILE, A],
    reopen({ ...A, 'pass-discard-request': true, 'pass-discard-other': true }),
    reopen({ ...A, 'overlap-check': 'none' }),
    reopen({ ...A, 'overlap-check': { template: 'constant', 'active-l2': true } }),
    reopen({ ...A, 'cache-size': 1 << 20 }),
    reopen({ ...A, 'cache-size': 1 << 20, 'l2-cache-size': 2 << 20 }),
    reopen({ ...A, 'cache-size': 2, 'l2-cache-size': 1, 'refcount-cache-size': 1 }),
    reopen({ ...A, 'l2-cache-size': 131072, 'refcount-cache-size': 262144 }),
    reopen({ ...A, backing: null }),
    reopen({ ...A, backing: 'x' }),
    reopen(A),
  );
  same(
    'another backing node, and none',
    [BASE, TOP, image('b')],
    reopen(TOP),
    reopen(IMPLICIT),
    reopen({ ...TOP, backing: null }),
    reopen(TOP),
    reopen({ ...TOP, backing: 'b' }),
    reopen({ ...TOP, backing: 'top' }),
    reopen({ ...TOP, backing: 'x' }),
    reopen({ ...TOP, backing: BASE }),
    reopen({ ...TOP, backing: 'b', 'read-only': true }),
    reopen(TOP, image('b', { 'read-only': true })),
    reopen({ ...TOP, backing: 'b' }, image('b', { backing: 'top' })),
    reopen(image('b', { backing: 'top' })),
    reopen({ ...TOP, backing: 'b' }),
  );
  same(
    'a backing node that the header named',
    [IMPLICIT, image('b')],
    reopen(IMPLICIT),
    reopen({ ...IMPLICIT, backing: 'base' }),
    reopen({ ...IMPLICIT, backing: null }),
    reopen(IMPLICIT),
    reopen({ ...IMPLICIT, backing: 'b' }),
  );
  const NESTED = image('top', { backing: without(BASE, 'read-only') });
  same(
    'a backing node of its own',
    [NESTED, image('b')],
    reopen(NESTED),
    reopen({ ...NESTED, backing: 'base' }),
    reopen({ ...NESTED, backing: 'base', cache: { direct: true } }),
    reopen({ ...NESTED, backing: 'b' }),
    reopen(BASE),
    reopen(NESTED),
  );
  const addr = { type: 'unix', data: { path: 'DIR/nbd' } };
  same(
    'a node that is written to, and another beside it',
    [FILE, RAW, OTHER],
    command('nbd-server-start', { addr }),
    command('block-export-add', { type: 'nbd', id: 'e', 'node-name': 'r', writable: true }),
    reopen({ ...RAW, 'read-only': true }),
    reopen({ ...FILE, 'read-only': true }),
    reopen({ ...OTHER, 'detect-zeroes': 'on' }, { ...RAW, 'read-only': true }),
    reopen({ ...RAW, 'detect-zeroes': 'on' }, { ...OTHER, 'node-name': 'x' }),
    reopen({ ...RAW, 'detect-zeroes': 'on' }, { ...OTHER, 'read-only': true }),
    reopen({ ...FILE, cache: { direct: true } }),
    command('block-export-del', { id: 'e' }),
  );
  const group = command('object-add', { 'qom-type': 'throttle-group', id: 'g' });
  const throttle = (file: unknown): Options => ({ driver: 'throttle', 'node-name': 't', 'throttle-group': 'g', file });
  const snapshot = command('blockdev-snapshot', { node: 't', overlay: 'b' });
  same(
    'a filter over an image that names a backing file',
    [],
    group,
    add(IMPLICIT),
    add(throttle('top')),
    reopen(throttle('top')),
    reopen({ ...throttle('top'), 'detect-zeroes': 'on' }),
    reopen(throttle('top')),
  );
  // Answers alone: QEMU leaves the image below the filter writable, where nobody writes to it.
  it(
    'a filter that a snapshot was made over',
    comparing(
      [
        ...[group, add(image('a')), add(throttle('a')), add(image('b', { backing: null })), snapshot],
        ...[reopen(throttle('a')), reopen({ ...throttle('a'), 'detect-zeroes': 'on' })],
        ...[reopen(image('b', { backing: 't' })), reopen(image('b'))],
      ],
      { files, events: false },
    ),
  );
  same(
    'a filter, and within its options the image, which names a backing file',
    [],
    group,
    add(throttle(IMPLICIT)),
    reopen(throttle(IMPLICIT)),
    reopen(throttle('top')),
    reopen({ ...throttle(IMPLICIT), 'detect-zeroes': 'on' }),
    reopen({ ...throttle('top'), 'detect-zeroes': 'on' }),
  );
  const unwritable = { driver: 'null-co', 'node-name': 'never', size: 1 << 20, 'read-only': true };
  same(
    'a filter that nobody writes to, onto a node that cannot be written to',
    [],
    group,
    add({ driver: 'null-co', 'node-name': 'a', size: 1 << 20 }),
    add(unwritable),
    add(throttle('a')),
    reopen(throttle('never')),
  );
  same(
    'a chain that a commit works on',
    [BASE, TOP, image('b')],
    command('block-commit', { device: 'top', 'job-id': 'j' }),
    until('JOB_STATUS_CHANGE', { id: 'j', status: 'ready' }),
    reopen({ ...TOP, backing: null }),
    reopen({ ...TOP, backing: 'b' }),
    reopen({ ...TOP, 'detect-zeroes': 'on' }),
    reopen(BASE),
    command('job-cancel', { id: 'j' }),
    until('JOB_STATUS_CHANGE', { id: 'j', status: 'null' }),
  );
});

/** Of `query-named-block-nodes`: each named node with what a reopening changes. Other answers are as they are. */
function shownNodes(text: string): string {
  const answer = JSON.parse(text) as { return?: unknown };
  if (!Array.isArray(answer.return)) return text;
  const nodes = (answer.return as Options[]).filter((node) => !String(node['node-name']).startsWith('#'));
  const shown = nodes.map(({ 'node-name': name, ro, cache, detect_zeroes: zeroes, backing_file: backing }) =>
    JSON.stringify({ name, ro, cache, zeroes, backing }),
  );
  return shown.sort().join('\n');
}
