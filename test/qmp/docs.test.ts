// The pages on the daemon, on QMP and on jobs: their commands do what they say, and their tables are true.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { openRealHost } from '../../src/host/real/index.js';
import { Workspace } from '../../src/library/workspace.js';
import { COMMANDS } from '../../src/schema/generated/table.js';
import { run, Workshop } from '../support/cli.js';
import { examplesOf, runExample } from '../support/examples.js';
import { isAlive, until } from '../support/nbd-process.js';
import { requirePeer } from '../support/peers.js';
import { type Json, StorageDaemon } from '../support/qmp.js';

function byteAt(shop: Workshop, image: string, at: number): number {
  return Number.parseInt(shop.must('qemu-io', '-r', '-f', 'qcow2', '-c', `read -v ${at} 1`, image).slice(11, 13), 16);
}

/** A program of a disk's first sector, which the BIOS starts: it writes itself to the second sector of both disks, and halts. */
function bootSector(): Buffer {
  const sector = Buffer.alloc(512);
  // xor ax, ax; mov es, ax; mov bx, 0x7c00 (where it lies)
  const code = [0x31, 0xc0, 0x8e, 0xc0, 0xbb, 0x00, 0x7c];
  // mov ax, 0x0301 (write one sector); mov cx, 2 (the second one); mov dx, DISK; int 0x13
  for (const disk of [0x80, 0x81]) code.push(0xb8, 0x01, 0x03, 0xb9, 0x02, 0x00, 0xba, disk, 0x00, 0xcd, 0x13);
  // again: hlt; jmp again
  sector.set([...code, 0xf4, 0xeb, 0xfd]);
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}

describe('docs/daemon.md', () => {
  it('has commands that work as they stand', async () => {
    const shop = await Workshop.open();
    try {
      const script = examplesOf('docs/daemon.md', 'sh')
        .join('\n')
        .replace(/^diskwright /gm, `"$NODE" "$CLI" `);
      const { code, stdout, stderr } = run(
        '/bin/sh',
        ['-ec', `NODE=${process.execPath} CLI=${shop.bundle}\n${script}`],
        shop.folder,
      );
      expect(stderr).to.equal('');
      expect(code).to.equal(0);
      const [greeting, ...lines] = stdout
        .split('\r\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as Record<string, unknown>);
      expect(greeting).to.have.property('QMP');
      expect(lines.filter((line) => 'error' in line)).to.deep.equal([]);
      const jobs = lines.map((line) => line['return']).find((value) => Array.isArray(value));
      expect(jobs).to.have.nested.property('[0].id', 'm');
      expect(stdout).to.match(/virtual size: 64 MiB/);
    } finally {
      shop.remove();
    }
  });

  it("leads a guest's disks through a manager's day", async () => {
    const shop = await Workshop.open();
    try {
      const [example] = examplesOf('docs/daemon.md', 'ts');
      expect(runExample(shop, example)).to.deep.equal({ status: 0, stderr: '' });
      const bytes = (image: string) => [0, 1, 2].map((i) => byteAt(shop, image, i * 65536));
      expect(bytes('full.qcow2')).to.deep.equal([1, 0, 0]);
      expect(bytes('changed.qcow2')).to.deep.equal([1, 2, 0]);
      expect(bytes('system.qcow2')).to.deep.equal([1, 2, 3]);
    } finally {
      shop.remove();
    }
  });

  it('starts a machine on both disks', async function () {
    for (const peer of ['qemu-system-x86_64', 'qemu-img', 'qemu-io']) requirePeer(this, peer);
    const shop = await Workshop.open();
    const disks = ['vda', 'vdb'];
    for (const disk of disks) shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', `${disk}.qcow2`, '1M');
    writeFileSync(shop.path('sector'), bootSector());
    shop.must('qemu-io', '-f', 'qcow2', '-c', 'write -s sector 0 512', 'vda.qcow2');
    const words = disks.flatMap((disk) => [
      ...['--drive', `id=${disk},file=${shop.path(`${disk}.qcow2`)},format=qcow2`],
      ...(disk === 'vda' ? ['--nbd-server', `addr.type=unix,addr.path=${shop.path('vm-nbd.sock')}`] : []),
      ...['--export', `nbd,id=${disk},node-name=${disk},name=${disk},writable=on`],
    ]);
    const daemon = await StorageDaemon.start(shop.path('qmp'), words, [process.execPath, shop.bundle, 'daemon']);
    const [command] = examplesOf('docs/daemon.md', 'console').filter((code) => code.startsWith('qemu-system-x86_64 '));
    // What a person's screen would show.
    const machine = spawn('sh', ['-c', `exec ${command.trimEnd()} -nodefaults -display none`], {
      cwd: shop.folder,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    machine.stderr.on('data', (chunk) => (said += chunk));
    const ended = once(machine, 'exit');
    try {
      await until('the guest has written to both disks', async () => {
        if (machine.exitCode !== null) throw new Error(`the machine ended: ${said}`);
        const figures = (await daemon.execute('query-blockstats')) as { device: string; stats: Json }[];
        return disks.every((disk) => figures.some(({ device, stats }) => device === disk && stats['wr_bytes'] === 512));
      });
      machine.kill();
      await ended;
      await daemon.quit();
      for (const disk of disks) {
        shop.must('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', `${disk}.qcow2`, `${disk}.raw`);
        expect(readFileSync(shop.path(`${disk}.raw`)).subarray(512, 1024)).to.deep.equal(bootSector());
      }
    } finally {
      machine.kill('SIGKILL');
      daemon.kill();
      shop.remove();
    }
  });

  it('lists every command', () => {
    const page = readFileSync(new URL('../../docs/daemon.md', import.meta.url), 'utf8');
    const table = page.slice(page.indexOf('| subject |'), page.indexOf('`query-qmp-schema` describes'));
    const words = [...table.matchAll(/`([^`]+)`/g)].map(([, word]) => word);
    // `-add` behind `block-dirty-bitmap-add` stands for a command that begins as that one does.
    const missing = Object.keys(COMMANDS).filter(
      (name) => !words.some((word) => word === name || (word.startsWith('-') && name.endsWith(word))),
    );
    expect(missing.filter((name) => !name.startsWith('block-job-'))).to.deep.equal([]);
  });

  it('says of no command that is there that it is not', () => {
    const page = readFileSync(new URL('../../docs/daemon.md', import.meta.url), 'utf8');
    const list = page.slice(page.indexOf('## What is not there'), page.indexOf('## What differs'));
    const rows = list.split('\n').filter((row) => row.endsWith('| `CommandNotFound` |'));
    const words = [...rows.join('\n').matchAll(/`([^`]+)`/g)].map(([, word]) => word);
    expect(words).to.include.members(['eject', 'device_add']);
    expect(words.filter((word) => word in COMMANDS)).to.deep.equal([]);
  });
});

describe('docs/qmp.md', () => {
  it('has a session that can be typed', async () => {
    const shop = await Workshop.open();
    try {
      const [script] = examplesOf('docs/qmp.md', 'sh').map((code) => code.replace(/^diskwright /gm, '"$NODE" "$CLI" '));
      const words = ['-ec', `NODE=${process.execPath} CLI=${shop.bundle}\n${script}`];
      const { code, stdout, stderr } = run('/bin/sh', words, shop.folder);
      expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
      const [text, info] = [stdout.slice(0, stdout.lastIndexOf('\r\n')), stdout.slice(stdout.lastIndexOf('\r\n'))];
      const lines = text.split('\r\n').map((line) => JSON.parse(line) as Record<string, unknown>);
      const errors = lines.filter((line) => 'error' in line);
      expect(errors.map(({ id }) => id)).to.deep.equal(['an error']);
      expect(lines.find(({ id }) => id === 'how far is it?')).to.have.nested.property('return[0].id', 'b');
      expect(info).to.match(/backing file: .*disk\.qcow2/);
      shop.must('qemu-img', 'check', '-q', 'backup.qcow2');
    } finally {
      shop.remove();
    }
  });
});

describe('docs/jobs.md', () => {
  it('leads a job through its states, by hand', async () => {
    const shop = await Workshop.open();
    try {
      const [script] = examplesOf('docs/jobs.md', 'sh').map((code) =>
        code.replace(/^(until )?diskwright /gm, '$1"$$NODE" "$$CLI" '),
      );
      const words = ['-ec', `NODE=${process.execPath} CLI=${shop.bundle}\n${script}`];
      const { code, stdout, stderr } = run('/bin/sh', words, shop.folder);
      expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
      const lines = stdout.trimEnd().split('\n');
      expect(lines.map((line) => line.split('  ')[2])).to.deep.equal([
        ...['ready', 'standby', 'pending', 'concluded'],
        undefined,
      ]);
      expect(lines.at(-1)).to.equal('No jobs.');
    } finally {
      shop.remove();
    }
  });
});

describe('docs/filters.md', () => {
  it('has commands that work as they stand', async () => {
    const shop = await Workshop.open();
    try {
      const script = examplesOf('docs/filters.md', 'sh')
        .join('\n')
        .replace(/^diskwright /gm, '"$NODE" "$CLI" ');
      expect(script).to.include('driver=copy-on-read');
      const words = ['-ec', `NODE=${process.execPath} CLI=${shop.bundle}\n${script}`];
      expect(run('/bin/sh', words, shop.folder)).to.include({ code: 0, stdout: '', stderr: '' });
    } finally {
      shop.remove();
    }
  });
});

describe('docs/nbd.md', () => {
  it('has commands for the monitor of a disk that is served, which work as they stand', async () => {
    const shop = await Workshop.open();
    const workspace = new Workspace(openRealHost());
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'served.qcow2', '64M');
    const words = ['--fork', '-t', '-k', shop.path('nbd'), '--pid-file=pid', '--monitor', 'qmp.sock', '-f', 'qcow2'];
    expect(shop.ours('nbd', ...words, 'served.qcow2')).to.deep.equal({ code: 0, stdout: '', stderr: '' });
    const pid = Number(readFileSync(shop.path('pid'), 'utf8'));
    try {
      const client = await workspace.connectQmp(shop.path('qmp.sock'));
      const done = client.events('BLOCK_JOB_COMPLETED');
      const commands = examplesOf('docs/nbd.md', 'json')[0].trim().split('\n');
      expect(commands).to.have.lengthOf(3);
      for (const line of commands.slice(1)) {
        const { execute, arguments: args } = JSON.parse(line) as { execute: string; arguments: object };
        await client.executeAny(execute, args);
      }
      for await (const { data } of done) {
        expect(data).to.include({ device: 'b' }).and.not.to.have.property('error');
        break;
      }
      expect(shop.must('qemu-img', 'info', '-U', 'over.qcow2')).to.include('backing file: served.qcow2');
      shop.must('qemu-img', 'check', '-q', 'copy.qcow2');
    } finally {
      process.kill(pid);
      await workspace.close();
      await until('the server has ended', () => !isAlive(pid));
      shop.remove();
    }
  });
});
