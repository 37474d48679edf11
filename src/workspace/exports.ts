// Exports of a daemon: nodes that are exported by one NBD server, or as files that are mounted, each with an id (`block-export-add`), until they are removed.
//
//   id --> Device on the node --> NbdServer, or a FuseSession
//   id --> a device that was there, where that is what was named: its limits, figures and error policy act on clients' requests
//
// Only one server runs at a time, as in QEMU; its exports are removed with it. A file that somebody unmounts is removed, too.

import { Device, rootOf } from '../block/device.js';
import type { Graph } from '../block/graph.js';
import { BlockNode } from '../block/node/node.js';
import { PERM_ALL, Perm } from '../block/types.js';
import type { ExportOptions } from '../exports/nbd/export.js';
import { NbdServer, type NbdServerOptions } from '../exports/nbd/server.js';
import type { NetAddress } from '../host/net.js';
import type { BlockExportInfo, BlockExportOptions } from '../schema/generated/types.js';
import { detach, reportUnforeseen } from '../util/best-effort.js';
import { BlockError } from '../util/errors.js';
import type { Drives } from './drives.js';
import { MOUNT_SOURCE, mountDevice } from './mount.js';
import { keepSize } from './serve.js';

const EXPORT_ID = /^[A-Za-z][\w.-]*$/;

type NbdOptions = BlockExportOptions & { type: 'nbd' };
type FuseOptions = BlockExportOptions & { type: 'fuse' };

/** What differs from kind to kind. */
interface Service {
  /** Requests under way. */
  pending(): number;
  /** Throws `busy` where `safe` forbids the removal. */
  check(mode: 'safe' | 'hard'): void;
  /** Resolves when nothing is under way any more. */
  remove(mode: 'safe' | 'hard'): Promise<void>;
}

interface Export {
  readonly id: string;
  readonly type: BlockExportInfo['type'];
  readonly device: Device;
  /** The device is the export's own: it is closed with it. Else, it is released. */
  readonly release: (() => void) | null;
  readonly service: Service;
  /** Set while it is being removed: settles when nothing of it is left. */
  removal: Promise<void> | null;
}

export class Exports {
  readonly #graph: Graph;
  readonly #drives: Drives;
  readonly #onDeleted: (id: string) => void;
  readonly #exports = new Map<string, Export>();
  /** Ids of exports that are being added. */
  readonly #begun = new Set<string>();
  #server: NbdServer | null = null;

  /** `onDeleted` is called with the id of each export that was removed. */
  constructor(graph: Graph, drives: Drives, onDeleted: (id: string) => void) {
    this.#graph = graph;
    this.#drives = drives;
    this.#onDeleted = onDeleted;
  }

  /** Starts the server; resolves with where it listens. Rejects with `exists` where one is running, and with `invalid-argument`, `busy` (address), `permission`. */
  async startServer(address: NetAddress, options: NbdServerOptions): Promise<NetAddress> {
    if (this.#server !== null) throw new BlockError('exists', 'NBD server already running');
    const server = new NbdServer(this.#graph.host, options);
    this.#server = server;
    try {
      return await server.listen(address);
    } catch (error) {
      this.#server = null;
      await server.close();
      throw error;
    }
  }

  /** Stops the server: disconnects all clients and removes all exports. Rejects with `not-found` where no server is running. */
  async stopServer(): Promise<void> {
    const server = this.#running;
    const all = [...this.#exports.values()].filter(({ type }) => type === 'nbd');
    this.#server = null;
    let last = withoutHolding(all, () => server.close());
    const ends = [last];
    for (const one of all) {
      one.removal ??= this.#forgetAfter(last, one);
      last = one.removal;
      ends.push(last);
    }
    // A server closes even where it rejects: its exports are gone, too.
    for (const end of await Promise.allSettled(ends)) if (end.status === 'rejected') throw end.reason;
  }

  get #running(): NbdServer {
    if (this.#server === null) throw new BlockError('not-found', 'NBD server not running');
    return this.#server;
  }

  /**
   * Adds an export. Rejects with `exists`, `invalid-argument`, `not-found` (node, bitmap, server, file), `permission`, `read-only`, `busy`, `unsupported`, and as
   * `Fuse.mount`.
   */
  async add(options: BlockExportOptions): Promise<void> {
    const { id, type, 'node-name': nodeName, writable = false } = options;
    if (!EXPORT_ID.test(id)) throw new BlockError('invalid-argument', 'Invalid block export id');
    if (this.#exports.has(id) || this.#begun.has(id)) {
      throw new BlockError('exists', `Block export id '${id}' is already in use`);
    }
    const drive = this.#drives.find(nodeName);
    const node = drive === undefined ? this.#graph.find(nodeName) : rootOf(drive).node;
    if (writable && node.readOnly) throw new BlockError('read-only', 'Cannot export read-only node as writable');
    const device = drive ?? new Device(node, { name: id, unnamed: true, writable, shared: PERM_ALL });
    let release: (() => void) | null = null;
    this.#begun.add(id);
    try {
      if (drive !== undefined) release = this.#take(drive, id, type);
      const service =
        options.type === 'nbd' ? this.#offer(device, drive !== undefined, options) : await this.#mount(device, options);
      const added: Export = { id, type, device, release, service, removal: null };
      this.#exports.set(id, added);
    } catch (error) {
      if (drive === undefined) await device.close();
      else release?.();
      throw error;
    } finally {
      this.#begun.delete(id);
    }
  }

  #offer(device: Device, isDrive: boolean, options: NbdOptions): Service {
    const { 'node-name': nodeName, name = nodeName, description, writable = false, writethrough = false } = options;
    const server = this.#running;
    // Others may write beside its clients, but nobody changes the size that these were told.
    if (!isDrive) keepSize(device);
    server.addExport(device, { ...contextsOf(options), name, description, writethrough, readOnly: !writable });
    return {
      pending: () => server.requestsOf(name),
      check: (mode) => server.checkRemoval(name, mode),
      remove: (mode) => server.removeExport(name, mode),
    };
  }

  async #mount(device: Device, options: FuseOptions): Promise<Service> {
    const { id, mountpoint, writable = false, growable = false, writethrough = false } = options;
    const request = { path: mountpoint, allowOther: options['allow-other'] ?? 'auto', source: MOUNT_SOURCE };
    const session = await mountDevice(
      this.#graph.host,
      device,
      { ...request, writable, growable, writethrough },
      (error) => {
        if (error !== null) reportUnforeseen('fuse export', error);
        const ended = this.#exports.get(id);
        if (ended === undefined || ended.removal !== null) return;
        // Somebody has unmounted it.
        ended.removal = this.#forget(ended);
        detach('export', ended.removal);
      },
    );
    return {
      pending: () => session.pending,
      check: () => undefined,
      remove: () => session.close(),
    };
  }

  /** Lets a device serve an export: until the last one is gone, nobody changes its size. The result ends that. Throws `permission`. */
  #take(device: Device, id: string, type: BlockExportInfo['type']): () => void {
    if (type !== 'nbd') return device.use(`export '${id}'`);
    keepSize(device);
    const root = rootOf(device);
    const release = device.use(`export '${id}'`);
    return () => {
      release();
      if ([...this.#exports.values()].some((other) => other.device === device && other.type === 'nbd')) return;
      BlockNode.changePermissions(root, root.perm, root.shared | Perm.RESIZE);
    };
  }

  /**
   * Removes an export: its clients are disconnected at once. Resolves when it is gone, or, as QEMU does, sooner where requests of clients are still under
   * way, which may wait for a throttle: the export is listed as shutting down until they are over. Rejects with `not-found`, `bad-state` (it is being
   * removed), and with `busy` where clients use it, unless `hard`.
   */
  async remove(id: string, mode: 'safe' | 'hard'): Promise<void> {
    const found = this.#exports.get(id);
    if (found === undefined) throw new BlockError('not-found', `Export '${id}' is not found`);
    if (found.removal !== null) throw new BlockError('bad-state', `Export '${id}' is already shutting down`);
    const { service } = found;
    service.check(mode);
    const busy = service.pending() > 0;
    const removed = withoutHolding([found], () => service.remove(mode));
    found.removal = this.#forgetAfter(removed, found);
    if (busy) detach('export', found.removal);
    else await found.removal;
  }

  /** The newest first. */
  list(): BlockExportInfo[] {
    return [...this.#exports.values()].reverse().map(({ id, type, device, removal }) => ({
      id,
      type,
      // Another node may have been put in the place of the one that it was added with.
      'node-name': rootOf(device).node.nodeName,
      'shutting-down': removal !== null,
    }));
  }

  /** Ends the server and all exports. */
  async close(): Promise<void> {
    const ends: Promise<void>[] = [];
    for (const one of this.#exports.values()) {
      if (one.type === 'nbd') continue;
      one.removal ??= this.#forgetAfter(
        withoutHolding([one], () => one.service.remove('hard')),
        one,
      );
      ends.push(one.removal);
    }
    if (this.#server !== null) ends.push(this.stopServer());
    for (const end of await Promise.allSettled(ends)) if (end.status === 'rejected') throw end.reason;
  }

  async #forgetAfter(end: Promise<void>, one: Export): Promise<void> {
    try {
      await end;
    } finally {
      await this.#forget(one);
    }
  }

  async #forget(one: Export): Promise<void> {
    this.#exports.delete(one.id);
    try {
      if (one.release !== null) one.release();
      else await one.device.close();
      await this.#graph.unusedClosed();
    } finally {
      this.#onDeleted(one.id);
    }
  }
}

function contextsOf(options: NbdOptions): Pick<ExportOptions, 'bitmaps' | 'allocationDepth'> {
  return { bitmaps: options.bitmaps, allocationDepth: options['allocation-depth'] };
}

/** Runs `action`, which waits for clients' requests: those that wait for a stopped device fail, rather than to be waited for. */
async function withoutHolding(exports: readonly Export[], action: () => Promise<void>): Promise<void> {
  await exports.reduce(
    (next, { device }) =>
      () =>
        device.withoutHolding(next),
    action,
  )();
}
