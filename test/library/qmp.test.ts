// The library as a client of monitors: of our daemon, of qemu-storage-daemon and of a machine of QEMU, the same program for all three.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { expect } from 'chai';
import { openRealHost } from '../../src/host/real/index.js';
import type { QmpClient } from '../../src/library/qmp.js';
import { Workspace } from '../../src/library/workspace.js';
import type { BlockError } from '../../src/util/errors.js';
import { failureOf } from '../drivers/support.js';
import { Workshop } from '../support/cli.js';

const DAEMON_WORDS = [
  '--chardev',
  'socket,id=m,path=qmp.sock,server=on,wait=off',
  '--monitor',
  'm',
  '--pidfile',
  'pid',
];
const MACHINE_WORDS = ['-M', 'none', '-nodefaults', '-display', 'none', '-qmp', 'unix:qmp.sock,server=on,wait=off'];
const PEERS: readonly (readonly [string, (bundle: string) => string[]])[] = [
  ['diskwright daemon', (bundle) => [process.execPath, bundle, 'daemon', ...DAEMON_WORDS]],
  ['qemu-storage-daemon', () => ['qemu-storage-daemon', ...DAEMON_WORDS]],
  ['a machine of QEMU', () => ['qemu-system-x86_64', ...MACHINE_WORDS, '-pidfile', 'pid']],
];

for (const [name, wordsOf] of PEERS) {
  describe(`connectQmp to ${name}`, () => {
    let shop: Workshop;
    let workspace: Workspace;
    let daemon: ChildProcess;
    let client: QmpClient;

    beforeEach(async () => {
      shop = await Workshop.open();
      const [program, ...words] = wordsOf(shop.bundle);
      daemon = spawn(program, words, { cwd: shop.folder, stdio: ['ignore', 'ignore', 'inherit'] });
      // Another program's file: there is nothing but to look for it.
      while (!['pid', 'qmp.sock'].every((file) => existsSync(shop.path(file))))
        await new Promise((resolve) => setTimeout(resolve, 2));
      workspace = new Workspace(openRealHost());
      client = await connected();
    });

    /** The file of a socket is there a moment before the program listens at it. */
    async function connected(): Promise<QmpClient> {
      for (;;) {
        try {
          return await workspace.connectQmp(shop.path('qmp.sock'));
        } catch (error) {
          if ((error as BlockError).errno !== 'ECONNREFUSED') throw error;
        }
      }
    }

    afterEach(async () => {
      await workspace.close();
      daemon.kill('SIGKILL');
      shop.remove();
    });

    async function addDisk(node: string): Promise<void> {
      shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', node, '1M');
      const file = { driver: 'file', filename: shop.path(node) } as const;
      await client.execute('blockdev-add', { driver: 'qcow2', 'node-name': node, file });
    }

    it('reads the version, and executes commands with typed arguments and returns', async () => {
      expect(client.version.qemu.major).to.be.a('number');
      expect((await client.execute('query-version')).qemu).to.deep.equal(client.version.qemu);
      await addDisk('a');
      const [node] = (await client.execute('query-named-block-nodes')).filter((one) => one['node-name'] === 'a');
      expect(node.image['virtual-size']).to.equal(1 << 20);
    });

    it('rejects with the class and the text of the server', async () => {
      const gone = await failureOf(client.execute('block-job-cancel', { device: 'nobody' }));
      expect(gone).to.include({ code: 'not-active', qmpClass: 'DeviceNotActive', operation: 'block-job-cancel' });
      const unknown = await failureOf(client.executeAny('frobnicate'));
      expect(unknown).to.include({ code: 'unsupported', qmpClass: 'CommandNotFound' });
      expect(unknown.message).to.equal('The command frobnicate has not been found');
      const refused = await failureOf(client.execute('blockdev-del', { 'node-name': 'nobody' }));
      expect(refused).to.include({ code: 'refused', qmpClass: 'GenericError' });
      expect(refused.message).to.equal("Failed to find node with node-name='nobody'");
    });

    it('matches the answers of many commands to their callers', async () => {
      const names = Array.from({ length: 100 }, (_, i) => `n${i}`);
      const failures = await Promise.all(names.map((one) => failureOf(client.execute('job-dismiss', { id: one }))));
      expect(failures.every(({ qmpClass }) => qmpClass === 'GenericError')).to.equal(true);
      const deletions = names.map((one) => failureOf(client.execute('blockdev-del', { 'node-name': one })));
      const texts = (await Promise.all(deletions)).map(({ message }) => message);
      expect(texts).to.deep.equal(names.map((one) => `Failed to find node with node-name='${one}'`));
    });

    it('runs a job and follows its events, by listeners and as an iteration', async () => {
      await addDisk('a');
      await addDisk('b');
      const heard: string[] = [];
      client.on('BLOCK_JOB_READY', ({ event, data }) => heard.push(`${event} ${data.device}`));
      client.onAny(({ event }) => heard.push(event));
      const events = client.events('JOB_STATUS_CHANGE');
      await client.execute('blockdev-mirror', { 'job-id': 'm', device: 'a', target: 'b', sync: 'full' });
      const seen: string[] = [];
      for await (const { data, timestamp } of events) {
        expect(timestamp.seconds).to.be.greaterThan(1e9);
        seen.push(data.status);
        if (data.status === 'ready') await client.execute('job-complete', { id: 'm' });
        if (data.status === 'null') break;
      }
      const end = seen.filter((status) => status !== 'paused').slice(-5);
      expect(end).to.deep.equal(['ready', 'waiting', 'pending', 'concluded', 'null']);
      expect(heard).to.include.members([
        'BLOCK_JOB_READY m',
        'JOB_STATUS_CHANGE',
        'BLOCK_JOB_READY',
        'BLOCK_JOB_COMPLETED',
      ]);
    });

    it('executes commands out of band where the schema allows it, and says so where it does not', async () => {
      expect(client.hasOutOfBand).to.equal(true);
      const refused = await failureOf(client.execute('query-version', {}, { outOfBand: true }));
      expect(refused.message).to.equal('The command query-version does not support OOB');
    });

    it('ends iterations and calls when the server quits', async () => {
      const events = client.events('BLOCK_JOB_READY');
      // The answer may be lost with the connection.
      await client.execute('quit').catch((error: BlockError) => expect(error.code).to.equal('closed'));
      await client.closed;
      expect(await events.next()).to.deep.equal({ value: undefined, done: true });
      expect(await client.events().next()).to.deep.equal({ value: undefined, done: true });
      expect(await failureOf(client.execute('query-version'))).to.include({ code: 'closed' });
      if (daemon.exitCode === null) await once(daemon, 'exit');
      expect(daemon.exitCode).to.equal(0);
    });

    it('is ended with its workspace', async () => {
      await workspace.close();
      await client.closed;
      expect(await failureOf(client.execute('query-version'))).to.include({ code: 'closed' });
      expect(await failureOf(workspace.connectQmp(shop.path('qmp.sock')))).to.include({ code: 'closed' });
    });
  });
}
