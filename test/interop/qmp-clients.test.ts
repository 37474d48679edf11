// QMP clients that nobody here wrote hold one conversation with the daemon and with qemu-storage-daemon: socat and netcat as a person types it,
// socat as the parent of a daemon that talks over standard input and output, and qemu-qmp, a client from npm.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { expect } from 'chai';
import { endWithUs } from '../hypervisor/guest/children.js';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import type { Json } from '../support/qmp.js';

/** A disk, a job that does not end by itself, an error, a command of no use, and the end. */
const COMMANDS: readonly Json[] = [
  { execute: 'qmp_capabilities' },
  { execute: 'blockdev-add', arguments: { driver: 'qcow2', 'node-name': 'disk', file: file('disk') }, id: 'ä' },
  {
    execute: 'blockdev-add',
    arguments: { driver: 'raw', 'node-name': 'copy', file: file('copy') },
    id: { n: [1.5, null] },
  },
  {
    execute: 'blockdev-mirror',
    arguments: { 'job-id': 'm', device: 'disk', target: 'copy', sync: 'full', speed: 65536 },
  },
  { execute: 'job-pause', arguments: { id: 'nobody' }, id: 7 },
  { execute: 'blockdev-del', arguments: { 'node-name': 'disk' } },
  { execute: 'no-such-command' },
  { execute: 'block-job-set-speed', arguments: { device: 'm', speed: 1 }, id: 'BIG' },
  { execute: 'quit', id: 'end' },
];

function file(filename: string): Json {
  return { driver: 'file', filename };
}

/** With an integer that a JavaScript number cannot hold: it comes back as it was. */
const BIG = '9007199254740993';
const SCRIPT = COMMANDS.map((command) => JSON.stringify(command).replace('"BIG"', BIG)).join('\n');

const PROGRAMS: Record<string, (shop: Workshop) => readonly string[]> = {
  diskwright: (shop) => [process.execPath, shop.bundle, 'daemon'],
  reference: () => ['qemu-storage-daemon'],
};

describe('a QMP client that knows nothing of this program', () => {
  let shop: Workshop;

  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-img', 'socat', 'nc']) requirePeer(this, peer);
  });
  beforeEach(async () => {
    shop = await Workshop.open();
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', shop.path('disk'), '4M');
    shop.must('qemu-img', 'create', '-q', '-f', 'raw', shop.path('copy'), '4M');
  });
  afterEach(() => shop.remove());

  /** What `client` printed, started when the daemon listens at `qmp.sock`. The daemon ends with code 0. */
  async function atSocket(program: readonly string[], client: readonly string[]): Promise<string> {
    const chardev = 'socket,id=q,path=qmp.sock,server=on,wait=off';
    const [command, ...first] = [...program, '--chardev', chardev, '--monitor', 'q', '--pidfile', 'daemon.pid'];
    const daemon = spawn(command, first, { cwd: shop.folder, stdio: ['ignore', 'ignore', 'inherit'] });
    endWithUs(daemon);
    const ended = new Promise((resolve) => daemon.once('exit', resolve));
    await listening(daemon);
    const said = talk(client);
    expect(await ended).to.equal(0);
    expect(existsSync(shop.path('daemon.pid'))).to.equal(false);
    return said;
  }

  async function listening(daemon: ChildProcess): Promise<void> {
    while (!existsSync(shop.path('daemon.pid')) && daemon.exitCode === null) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  function talk([command, ...words]: readonly string[]): string {
    const options = { cwd: shop.folder, input: `${SCRIPT}\n`, encoding: 'utf8', timeout: 20_000 } as const;
    const { status, stdout, stderr } = spawnSync(command, words, options);
    expect({ status, stderr }).to.deep.equal({ status: 0, stderr: '' });
    return stdout;
  }

  /** The answers of both programs are the same, and there are events between them. */
  async function expectSame(said: (program: readonly string[]) => Promise<string> | string): Promise<void> {
    const answers: Record<string, Json[]> = {};
    for (const [name, program] of Object.entries(PROGRAMS)) {
      const text = await said(program(shop));
      expect(text).to.match(new RegExp(`"id": ?${BIG}[,}]`));
      const lines = text.split(/\r?\n/).filter((line) => line !== '');
      const messages = lines.map((line) => JSON.parse(line) as Json);
      expect(messages[0]).to.have.nested.property('QMP.version');
      expect(messages.some((message) => message['event'] === 'JOB_STATUS_CHANGE')).to.equal(true);
      // The reference's answer to the last command may be lost with its connection.
      answers[name] = messages.filter(({ id, ...rest }) => id !== 'end' && ('return' in rest || 'error' in rest));
    }
    expect(answers['diskwright']).to.have.lengthOf(COMMANDS.length - 1);
    expect(answers['diskwright']).to.deep.equal(answers['reference']);
  }

  it('socat at a UNIX socket', async () => {
    await expectSame((program) => atSocket(program, ['socat', '-t', '10', '-', 'UNIX-CONNECT:qmp.sock']));
  });

  it('netcat at a UNIX socket', async () => {
    await expectSame((program) => atSocket(program, ['nc', '-U', 'qmp.sock']));
  });

  it('socat as the parent of a daemon with its monitor at standard input and output', async () => {
    await expectSame((program) =>
      talk(['socat', '-t', '10', '-', `EXEC:${program.join(' ')} --chardev stdio\\,id=q --monitor q`]),
    );
  });

  it('qemu-qmp, a client from npm', async () => {
    const client = createRequire(import.meta.url).resolve('qemu-qmp');
    // It sends commands without a line end, and negotiates by itself.
    const program = `
      const qmp = new (require(${JSON.stringify(client)}))();
      const commands = ${JSON.stringify(COMMANDS.slice(1).map(({ execute, arguments: words }) => [execute, words]))};
      const said = [];
      qmp.on('job_status_change', () => said.push('event'));
      const next = () => {
        const [name, words] = commands.shift();
        qmp.execute(name, words, (error, answer) => {
          said.push(error === null ? answer : error.message);
          if (commands.length > 0) return next();
          qmp.end();
          console.log(JSON.stringify(said.filter((what) => what !== 'event')));
          console.log(said.includes('event'));
        });
      };
      qmp.connect('qmp.sock', (error) => { if (error) throw error; next(); });`;
    const said: string[] = [];
    for (const daemon of Object.values(PROGRAMS)) {
      // The client is of the time of the first Node: what it is warned of today is not ours.
      said.push(await atSocket(daemon(shop), [process.execPath, '--no-deprecation', '-e', program]));
    }
    expect(JSON.parse(said[0].split('\n')[0])).to.have.lengthOf(COMMANDS.length - 1);
    expect(said[0]).to.match(/true\n$/);
    expect(said[0]).to.equal(said[1]);
  });
});
