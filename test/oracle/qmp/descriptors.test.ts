// Descriptors that a client passes: the same script to a machine of QEMU, whose monitor alone has them, and to us.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { Workshop } from '../../support/cli.js';
import { until } from '../../support/nbd-process.js';
import { requirePeer } from '../../support/peers.js';

const PASSER = fileURLToPath(new URL('../../support/passer.py', import.meta.url));

type Mode = 'r' | 'w' | 'rw' | 'socket';
type Step = readonly [execute: string, args?: object, ...descriptors: Mode[]];

const node = (name: string, set: number | string, more: object = {}): Step => [
  'blockdev-add',
  { driver: 'file', 'node-name': name, filename: `/dev/fdset/${set}`, ...more },
];
const del = (name: string): Step => ['blockdev-del', { 'node-name': name }];
const socketOf = (id: string, str: string): Step => [
  'chardev-add',
  { id, backend: { type: 'socket', data: { server: false, addr: { type: 'fd', data: { str } } } } },
];
const sets: Step = ['query-fdsets'];

const SCRIPTS: Readonly<Record<string, readonly Step[]>> = {
  'get names': [
    ['getfd', { fdname: 'x' }],
    ['getfd', { fdname: 'x' }, 'rw'],
    ['getfd', { fdname: 'x' }, 'rw'],
    ['getfd', { fdname: '9x' }, 'rw'],
    ['getfd', { fdname: '9x' }],
    ['getfd', { fdname: '' }, 'rw'],
    ['getfd', {}, 'rw'],
    ['closefd', { fdname: 'x' }],
    ['closefd', { fdname: 'x' }],
    ['closefd', {}],
  ],
  'that a command did not want go to the next that does': [
    ['frobnicate', {}, 'rw'],
    ['getfd', { fdname: 'late' }],
    ['getfd', { fdname: 'later' }],
    ['query-version', {}, 'rw', 'r'],
    ['getfd', { fdname: 'a' }],
    ['getfd', { fdname: 'b' }],
  ],
  'are put into sets and taken out': [
    sets,
    ['add-fd', {}],
    ['add-fd', {}, 'rw'],
    ['add-fd', { 'fdset-id': 5, opaque: 'read' }, 'r'],
    ['add-fd', { 'fdset-id': 5, opaque: 'both' }, 'rw'],
    ['add-fd', { 'fdset-id': -1 }, 'rw'],
    ['add-fd', { 'fdset-id': 5 }],
    ['add-fd', {}, 'rw', 'r'],
    sets,
    ['remove-fd', { 'fdset-id': 7 }],
    ['remove-fd', { 'fdset-id': 5, fd: 100000 }],
    ['remove-fd', { 'fdset-id': 0 }],
    ['add-fd', {}, 'w'],
    sets,
    ['remove-fd', {}],
  ],
  'are what a file of a set is opened from, in the right way': [
    ['add-fd', { 'fdset-id': 5, opaque: 'read' }, 'r'],
    node('only-read', 5),
    node('only-read-too', 5, { 'auto-read-only': true }),
    ['add-fd', { 'fdset-id': 5, opaque: 'both' }, 'rw'],
    node('a', 5),
    node('b', 5, { 'read-only': true }),
    ['add-fd', { 'fdset-id': 2 }, 'w'],
    node('w', 2),
    node('r', 2, { 'read-only': true }),
    node('c', 9),
    node('c', 'x'),
    node('c', ''),
    sets,
    ['remove-fd', { 'fdset-id': 5 }],
    sets,
    node('c', 5),
    ['add-fd', { 'fdset-id': 5, opaque: 'again' }, 'w'],
    del('b'),
    sets,
    ['remove-fd', { 'fdset-id': 5 }],
    del('only-read-too'),
    del('a'),
    sets,
  ],
  'are sockets by their names': [
    ['getfd', { fdname: 'sock' }, 'socket'],
    socketOf('s', 'sock'),
    socketOf('t', 'sock'),
    ['getfd', { fdname: 'file' }, 'rw'],
    socketOf('u', 'file'),
    ['closefd', { fdname: 'file' }],
    ['nbd-server-start', { addr: { type: 'fd', data: { str: 'nobody' } } }],
    ['blockdev-add', { driver: 'nbd', 'node-name': 'n', server: { type: 'fd', str: 'nobody' } }],
  ],
  'are none of the program’s own: a number is a name': [
    socketOf('s', '1'),
    ['nbd-server-start', { addr: { type: 'fd', data: { str: '12' } } }],
    ['nbd-server-start', { addr: { type: 'fd', data: { str: '1x' } } }],
    ['blockdev-add', { driver: 'nbd', 'node-name': 'n', server: { type: 'fd', str: '1' } }],
  ],
};

describe('oracle: descriptors that are passed', () => {
  let shop: Workshop;

  before(function () {
    for (const peer of ['python3', 'qemu-system-x86_64']) requirePeer(this, peer);
  });
  beforeEach(async () => {
    shop = await Workshop.open();
  });
  afterEach(() => shop.remove());

  /** The answers to a script; `after` looks at the daemon once the client has gone. */
  async function answers(
    [program, ...words]: readonly string[],
    script: readonly Step[],
    after: (pid: number) => Promise<void> = async () => undefined,
  ): Promise<string[]> {
    const folder = shop.path(program === process.execPath ? 'ours' : 'theirs');
    // The socket of an earlier run is nobody's.
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
    writeFileSync(`${folder}/disk`, '');
    truncateSync(`${folder}/disk`, 1 << 20);
    const daemon = spawn(program, words, { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] });
    try {
      await until('the monitor is there', () => existsSync(`${folder}/pid`) && existsSync(`${folder}/qmp`));
      const steps = [['qmp_capabilities'] as Step, ...script].map(([execute, args = {}, ...modes]) =>
        JSON.stringify([{ execute, arguments: args }, modes.map((mode) => ['disk', mode])]),
      );
      const { stdout, stderr } = spawnSync('python3', [PASSER, 'qmp'], {
        cwd: folder,
        input: `${steps.join('\n')}\n`,
        encoding: 'utf8',
      });
      expect(stderr).to.equal('');
      await after(daemon.pid as number);
      return stdout
        .trimEnd()
        .split('\n')
        .slice(1)
        .map((line) => comparable(line));
    } finally {
      daemon.kill('SIGKILL');
    }
  }

  /** Numbers of descriptors, and the version, are each process's own. */
  function comparable(line: string): string {
    const { return: returned, error } = JSON.parse(line, (key, value) =>
      key === 'fd' || key === 'qemu' || key === 'package' ? undefined : value,
    ) as { return?: unknown; error?: { class: string; desc: string } };
    const inOrder = (value: unknown): unknown =>
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
        : Array.isArray(value)
          ? value.map(inOrder)
          : value;
    return error === undefined ? JSON.stringify(inOrder(returned)) : `${error.class}: ${error.desc}`;
  }

  const machine = [
    ...['qemu-system-x86_64', '-M', 'none', '-nodefaults', '-display', 'none', '-pidfile', 'pid'],
    ...['-qmp', 'unix:qmp,server=on,wait=off'],
  ];
  const ours = (): string[] => [
    ...[process.execPath, shop.bundle, 'daemon', '--chardev', 'socket,id=m,path=qmp,server=on,wait=off'],
    ...['--monitor', 'm', '--pidfile', 'pid'],
  ];

  for (const [title, script] of Object.entries(SCRIPTS)) {
    it(title, async () => {
      const theirs = await answers(machine, script);
      const mine = await answers(ours(), script);
      const steps = script.map((step) => JSON.stringify(step));
      expect(mine.map((line, i) => `${steps[i]} -> ${line}`)).to.deep.equal(
        theirs.map((line, i) => `${steps[i]} -> ${line}`),
      );
    });
  }

  it('are not for images: a backing file cannot be one', async () => {
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-u', '-b', '/dev/fdset/1', '-F', 'raw', 'top.qcow2', '1M');
    const file = { driver: 'file', filename: shop.path('top.qcow2') };
    const [, refused] = await answers(ours(), [
      ['add-fd', { 'fdset-id': 1 }, 'r'],
      ['blockdev-add', { driver: 'qcow2', 'node-name': 'top', file }],
    ]);
    expect(refused).to.contain('descriptors of this program are not for images');
  });

  it('are closed when the client goes, named, in sets, and left over, and are no program’s that is started', async () => {
    const passed: Step[] = [
      ['getfd', { fdname: 'a' }, 'rw'],
      ['getfd', { fdname: 'a' }, 'rw', 'r', 'w'],
      ['add-fd', {}, 'rw'],
      ['add-fd', { 'fdset-id': 3 }, 'r'],
      node('n', 3, { 'read-only': true }),
      del('n'),
      ['query-version', {}, 'rw', 'r'],
      ['frobnicate', {}, 'rw'],
    ];
    const count = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;
    let before = 0;
    await answers(ours(), [], async (pid) => {
      before = count(pid);
    });
    await answers(ours(), [...passed, ...passed], (pid) => until('all are closed', () => count(pid) <= before));
  });
});
