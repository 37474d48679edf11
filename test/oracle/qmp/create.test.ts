// Images that are created, and names of backing files in headers, against qemu-storage-daemon.

import { requirePeer } from '../../support/peers.js';
import type { Json } from '../../support/qmp.js';
import { command, comparing, type Setup, type Step, untilStatus } from './runner.js';

const MIB = 1 << 20;

const files: Setup['files'] = (shop, folder) => {
  const make = (...words: string[]) => shop.must('qemu-img', 'create', '-q', ...words);
  make('-f', 'qcow2', `${folder}/base.qcow2`, '4M');
  make('-f', 'qcow2', '-b', `${folder}/base.qcow2`, '-F', 'qcow2', `${folder}/top.qcow2`);
  make('-f', 'qcow2', '-b', `${folder}/base.qcow2`, '-F', 'qcow2', `${folder}/other.qcow2`);
  make('-f', 'raw', `${folder}/a.raw`, '4M');
};

const add = (name: string, driver: string, file: string, more = {}): Step =>
  command('blockdev-add', { driver, 'node-name': name, file: { driver: 'file', filename: `DIR/${file}` }, ...more });
const create = (options: Json, id = 'j'): Step => command('blockdev-create', { 'job-id': id, options });
/** A whole job. */
const creation = (options: Json): Step[] => [
  create(options),
  untilStatus('j', 'concluded'),
  command('query-jobs'),
  command('query-block-jobs'),
  command('job-dismiss', { id: 'j' }),
  untilStatus('j', 'null'),
];
const FILE = { driver: 'file', filename: 'DIR/new' };
const qcow2 = (more: Json = {}): Json => ({ driver: 'qcow2', file: 'file', size: MIB, ...more });

describe('qmp against qemu-storage-daemon: images', () => {
  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-img']) requirePeer(this, peer);
  });

  const same = (title: string, ...script: Step[]): void => {
    it(title, comparing(script, { files }));
  };

  same(
    'what is wrong with an image to be created',
    command('blockdev-create'),
    command('blockdev-create', { 'job-id': 'j' }),
    create({}),
    create({ driver: 'nonsense' }),
    create({ driver: 'null-co' }),
    create({ ...FILE, size: MIB }, '1'),
    create({ ...FILE }),
    ...['x', 1.5, null].flatMap((wrong) => [
      create({ ...FILE, size: wrong }),
      create(qcow2({ 'cluster-size': wrong })),
    ]),
    create({ ...FILE, size: MIB, nonsense: 1 }),
    create({ ...FILE, size: MIB, preallocation: 'nonsense' }),
    create(qcow2({ version: 'v4' })),
    create({ driver: 'qcow2', size: MIB }),
    command('query-jobs'),
  );

  same(
    'images, and what becomes of their jobs',
    ...creation({ ...FILE, size: 65536 }),
    ...creation({ ...FILE, size: 0, preallocation: 'off' }),
    ...creation({ driver: 'file', filename: 'DIR/none/new', size: 65536 }),
    command('blockdev-add', { driver: 'file', 'node-name': 'file', filename: 'DIR/new' }),
    ...creation(qcow2()),
    ...creation(qcow2({ size: 1000 })),
    ...creation(qcow2({ 'cluster-size': 1000 })),
    ...creation(qcow2({ 'cluster-size': -1 })),
    ...creation(qcow2({ 'refcount-bits': 3 })),
    ...creation(qcow2({ 'backing-fmt': 'qcow2' })),
    ...creation(qcow2({ file: 'nobody' })),
    ...creation(qcow2({ file: { driver: 'file', filename: 'DIR/none' } })),
    ...creation(qcow2({ 'cluster-size': 4096, version: 'v2' })),
    command('blockdev-add', { driver: 'qcow2', 'node-name': 'made', file: 'file' }),
  );

  same(
    'verbs of a job that has ended',
    create({ ...FILE, size: 512 }),
    untilStatus('j', 'concluded'),
    create({ ...FILE, size: 512 }),
    ...['job-pause', 'job-resume', 'job-complete', 'job-finalize', 'job-cancel'].map((verb) =>
      command(verb, { id: 'j' }),
    ),
    command('block-job-dismiss', { id: 'j' }),
    command('job-dismiss', { id: 'j' }),
    untilStatus('j', 'null'),
  );

  const change = (device: string, image: string, name: string): Step =>
    command('change-backing-file', { device, 'image-node-name': image, 'backing-file': name });
  same(
    'names of backing files',
    add('base', 'qcow2', 'base.qcow2', { 'read-only': true }),
    add('top', 'qcow2', 'top.qcow2', { backing: 'base' }),
    add('other', 'qcow2', 'other.qcow2', { backing: 'base', 'read-only': true }),
    add('raw', 'raw', 'a.raw'),
    command('change-backing-file'),
    command('change-backing-file', { device: 'top' }),
    change('nobody', 'top', 'x'),
    change('top', 'nobody', 'x'),
    change('top', 'base', 'x'),
    change('raw', 'raw', 'x'),
    change('top', 'other', 'x'),
    change('top', 'top', 'y'.repeat(2000)),
    change('top', 'top', 'DIR/somewhere'),
    change('other', 'other', 'DIR/./base.qcow2'),
    ...['top', 'other'].map((name) => command('blockdev-del', { 'node-name': name })),
    add('top', 'qcow2', 'top.qcow2', { backing: null }),
    add('other', 'qcow2', 'other.qcow2'),
    command('blockdev-del', { 'node-name': 'base' }),
  );
});
