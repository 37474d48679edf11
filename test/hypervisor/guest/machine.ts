// A virtual machine: QEMU with disks that are NBD exports, its monitor, its console in a file, and the agent in the guest.

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { accelerator } from './accelerator.js';
import { Agent } from './agent.js';
import { endWithUs } from './children.js';
import { Monitor } from './monitor.js';
import type { GuestParts } from './parts.js';
import { within } from './within.js';

const START_LIMIT_MS = 120_000;

export interface Disk {
  /** Path of the UNIX socket where it is served. */
  socket: string;
  /** Name of the export. */
  name: string;
  /** The guest stops where the disk is full, and can go on. Default: it is told. */
  stopWhenFull?: boolean;
  /** Each write is durable when it is acknowledged (FUA). */
  writeThrough?: boolean;
}

export interface MachineOptions {
  parts: GuestParts;
  /** Folder for sockets and the console; one a machine. */
  folder: string;
  /** The first is the root file system; one that is called `data` comes second, and is mounted at /data. */
  disks: readonly Disk[];
}

export class Machine {
  readonly monitor: Monitor;
  readonly agent: Agent;
  readonly #process: ChildProcess;
  readonly #console: string;
  /** Resolves with QEMU's exit code; null where it was killed. */
  readonly exited: Promise<number | null>;

  private constructor({ parts, folder, disks }: MachineOptions) {
    const path = (name: string) => join(folder, name);
    this.monitor = new Monitor(path('monitor'));
    this.agent = new Agent(path('agent'));
    this.#console = path('console');
    const words = [
      ...['-M', 'q35', ...accelerator(parts), '-m', '192', '-nodefaults', '-display', 'none', '-no-reboot'],
      ...['-kernel', parts.kernel, '-initrd', parts.initramfs],
      ...['-append', `console=ttyS0 quiet panic=-1 mitigations=off${disks[1]?.name === 'data' ? ' data' : ''}`],
      ...['-serial', `file:${this.#console}`, '-qmp', `unix:${path('monitor')}`],
      ...['-chardev', `socket,id=agent,path=${path('agent')}`],
      ...['-device', 'virtio-serial-pci', '-device', 'virtserialport,chardev=agent,name=diskwright.agent'],
    ];
    disks.forEach(({ socket, name, stopWhenFull, writeThrough }, i) => {
      const server = { type: 'unix', path: socket };
      const node = {
        driver: 'nbd',
        'node-name': `disk${i}`,
        server,
        export: name,
        'reconnect-delay': 60,
        discard: 'unmap',
      };
      const device = ['virtio-blk-pci', `drive=disk${i}`, `write-cache=${writeThrough ? 'off' : 'on'}`];
      words.push('-blockdev', JSON.stringify({ ...node, 'detect-zeroes': 'unmap' }));
      words.push('-device', [...device, `werror=${stopWhenFull ? 'stop' : 'report'}`].join(','));
    });
    this.#process = spawn('qemu-system-x86_64', words, { stdio: ['ignore', 'inherit', 'inherit'] });
    endWithUs(this.#process);
    this.exited = new Promise((resolve, reject) => {
      this.#process.once('exit', resolve);
      this.#process.once('error', reject);
    });
    void this.exited.finally(() => {
      this.monitor.close();
      this.agent.close();
    });
  }

  /** Boots, until the agent answers. */
  static async start(options: MachineOptions): Promise<Machine> {
    const machine = new Machine(options);
    try {
      await within('boot', machine.agent.ready, START_LIMIT_MS);
    } catch (error) {
      await machine.kill();
      throw new Error(`${(error as Error).message}\nconsole: ${machine.console()}`);
    }
    return machine;
  }

  /** Syncs and unmounts everything and waits for QEMU to end. */
  async powerOff(): Promise<void> {
    await this.agent.run('sync; cd /; if grep -q " /data " /proc/mounts; then umount /data; fi; mount -o remount,ro /');
    this.agent.farewell('poweroff -f');
    const code = await within('power off', this.exited);
    if (code !== 0) throw new Error(`QEMU ended with ${code}`);
  }

  /** The guest is gone between two instructions. What its agent had sent before was received when this resolves. */
  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.exited;
    await this.agent.ended;
  }

  /** Its last lines. */
  console(): string {
    return existsSync(this.#console) ? readFileSync(this.#console, 'utf8').slice(-2000) : '(nothing)';
  }
}
