// One test's place: two chains of qcow2 images, served by NBD from this process, a guest on them, and workers in the guest.
//
//   root.base <- root.top    served as "root"
//   data.base <- data.mid <- data.top    served as "data"

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Context } from 'mocha';
import { type Image, type NbdService, openRealHost, Workspace } from '../../../src/index.js';
import { requirePeer } from '../../support/peers.js';
import { seedOf } from '../../support/sample.js';
import { Worker } from './agent.js';
import { checkImage, makeQcow2, readRecords } from './images.js';
import { type Disk, Machine } from './machine.js';
import { DATA_BYTES, type GuestParts, guestParts, ROOT_BYTES } from './parts.js';

export const SEED = seedOf(20261121);

export type DiskName = 'root' | 'data';
export const DISK_NAMES: readonly DiskName[] = ['root', 'data'];

/** What each worker had acknowledged. */
export type Moment = ReadonlyMap<Worker, number>;

let parts: GuestParts | null = null;

/** Call at the start of a suite. Throws where what guests need cannot be made here. */
export function requireGuest(context: Context): void {
  for (const program of ['qemu-system-x86_64', 'qemu-img']) requirePeer(context, program);
  if (parts === null) console.log(`      seed ${SEED}`);
  parts ??= guestParts();
}

export class Lab {
  readonly folder = mkdtempSync(join(tmpdir(), 'diskwright-guest-'));
  readonly parts: GuestParts;
  readonly workspace = new Workspace(openRealHost());
  readonly images = {} as Record<DiskName, Image>;
  readonly #services = new Map<DiskName, NbdService>();
  readonly #machines: Machine[] = [];

  /** Sync of each record, of eight together, and on the root file system. */
  readonly workers = {
    single: new Worker({ path: '/data/single', seed: SEED }),
    batches: new Worker({ path: '/data/batches', seed: SEED + 1, batch: 8 }),
    root: new Worker({ path: '/records', seed: SEED + 2, blocks: 1024 }),
  };

  private constructor() {
    if (parts === null) throw new Error('requireGuest comes first');
    this.parts = parts;
  }

  /** Both chains are made: the base by qemu-img, the overlays by us. Nothing is open. */
  static async create(): Promise<Lab> {
    const lab = new Lab();
    makeQcow2(lab.parts.root, lab.path('root.base'));
    makeQcow2(lab.parts.data, lab.path('data.base'));
    await lab.overlay('root.base', 'root.top', ROOT_BYTES);
    await lab.overlay('data.base', 'data.mid', DATA_BYTES);
    await lab.overlay('data.mid', 'data.top', DATA_BYTES);
    return lab;
  }

  /** Boots a guest on both disks and sets all workers to work. */
  async work(data: Partial<Disk> = {}): Promise<Machine> {
    const machine = await this.boot([this.disk('root'), { ...this.disk('data'), ...data }]);
    await machine.agent.start(...this.all);
    await machine.agent.progress(this.all, 16);
    return machine;
  }

  get all(): Worker[] {
    return Object.values(this.workers);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  async overlay(backing: string, name: string, size: number): Promise<void> {
    await this.workspace.create(this.path(name), {
      driver: 'qcow2',
      size,
      'backing-file': this.path(backing),
      'backing-fmt': 'qcow2',
    });
  }

  /** Serves both disks from this process. */
  async serveBoth(images: Partial<Record<DiskName, string>> = {}): Promise<void> {
    for (const name of DISK_NAMES) await this.serve(name, images[name]);
  }

  /** Opens (where it is not open) and serves a disk, at the same socket each time. */
  async serve(name: DiskName, image = `${name}.top`): Promise<void> {
    this.images[name] ??= await this.workspace.open(this.path(image), { format: 'qcow2' });
    this.#services.set(
      name,
      await this.workspace.serve(this.images[name], { path: this.path(`${name}.socket`), name }),
    );
  }

  /** Ends the service; the image stays open. */
  async endService(name: DiskName): Promise<void> {
    await this.#services.get(name)?.close();
    this.#services.delete(name);
  }

  async closeImage(name: DiskName): Promise<void> {
    await this.endService(name);
    const image = this.images[name];
    delete (this.images as Partial<Record<DiskName, Image>>)[name];
    await image?.close();
  }

  disk(name: DiskName): Disk {
    return { socket: this.path(`${name}.socket`), name };
  }

  async boot(disks: readonly Disk[]): Promise<Machine> {
    const folder = this.path(`machine${this.#machines.length}`);
    mkdirSync(folder);
    const machine = await Machine.start({ parts: this.parts, folder, disks });
    this.#machines.push(machine);
    return machine;
  }

  /** The workers stop, the guest reads back exactly what they wrote after a new mount, and powers off. */
  async readBack(machine: Machine): Promise<void> {
    const { agent } = machine;
    await agent.stop(...this.all);
    await agent.run('umount /data && mount -t ext4 /dev/vdb /data && sync && echo 3 > /proc/sys/vm/drop_caches');
    for (const worker of this.all) worker.check(await agent.records(worker), worker.acknowledged, worker.acknowledged);
    await machine.powerOff();
  }

  /** What every test ends with: `readBack`; then the images are clean and hold the same for somebody else's eyes. */
  async finish(machine: Machine): Promise<void> {
    await this.readBack(machine);
    const { root, data } = this.images;
    const files = { root: root.filename, data: data.filename };
    for (const name of DISK_NAMES) await this.closeImage(name);
    this.checkFiles(files);
  }

  /** What is acknowledged now, everything that the guest has said so far taken in. */
  async moment(machine: Machine): Promise<Moment> {
    await machine.agent.run('true');
    return new Map(this.all.map((worker) => [worker, worker.acknowledged]));
  }

  /**
   * The images are clean, and the workers' files in them, as the reference reads them, are those of one moment between `from` and `to`.
   * Default: exactly what is acknowledged now. `running`: the file systems are those of a running guest.
   */
  checkFiles(
    images: Partial<Record<DiskName, string>>,
    options: { from?: Moment; to?: Moment; running?: boolean; leaks?: boolean } = {},
  ): void {
    const { single, batches, root } = this.workers;
    const places: Record<DiskName, { worker: Worker; path: string }[]> = {
      root: [{ worker: root, path: '/records' }],
      data: [
        { worker: single, path: '/single' },
        { worker: batches, path: '/batches' },
      ],
    };
    for (const name of DISK_NAMES) {
      const image = images[name];
      if (image === undefined) continue;
      checkImage(image, options);
      readRecords(image, places[name], options).forEach((observed, i) => {
        const { worker } = places[name][i];
        const low = options.from?.get(worker) ?? worker.acknowledged;
        // The next batch is begun before we are told of the last one.
        const to = options.to?.get(worker);
        worker.check(observed, low, to === undefined ? worker.acknowledged : to + worker.batch);
      });
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#machines.map((machine) => machine.kill()));
    await this.workspace.close().catch(() => undefined);
    rmSync(this.folder, { recursive: true, force: true });
  }
}
