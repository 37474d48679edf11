// Devices of a daemon (`--drive`): named users of root nodes, with limits, figures and an error policy. Commands find them by name, and a job
// on one has its name; an NBD export that names one serves through it.
//
//   NBD client --> export --> Device 'd0' --root--> node     limits: a group of its own, or one that it shares
//                               |                            errors: DevicePolicy --stop--> Machine: all devices wait
//                               +-- Machine: stop, cont
//
// A device stays until the daemon ends.

import { Accounting } from '../block/accounting.js';
import { skipImplicit } from '../block/chain.js';
import { Device, rootOf } from '../block/device.js';
import type { Graph } from '../block/graph.js';
import type { BlockNode } from '../block/node/node.js';
import { limitsInfo, nodeInfo } from '../block/node-info.js';
import { checkIdentifier } from '../block/objects/index.js';
import { type OpenOptions, openNode, optionsOfName } from '../block/open.js';
import { ofOpenNode } from '../block/open-nodes.js';
import { deviceStats } from '../block/statistics.js';
import { PERM_ALL } from '../block/types.js';
import { ThrottleGroup } from '../host/throttle.js';
import { parseThrottleLimits } from '../host/throttle-config.js';
import type {
  BlockDeviceInfo,
  BlockInfo,
  BlockStats,
  DriveThrottling,
  QapiEvents,
  ThrottleLimits,
} from '../schema/generated/types.js';
import type { LooseOptions } from '../schema/loose-options.js';
import { bestEffort } from '../util/best-effort.js';
import { BlockError } from '../util/errors.js';
import { DevicePolicy, type ErrorChoice } from './error-policy.js';
import { Machine } from './machine.js';

export interface DeviceRequest {
  /** The image is to be written; it has to be open for that. */
  writable: boolean;
  writethrough: boolean;
  onRead: ErrorChoice;
  onWrite: ErrorChoice;
  throttling: DriveThrottling;
  accountInvalid: boolean | undefined;
  accountFailed: boolean | undefined;
  /** Seconds. */
  intervals: readonly number[];
}

export interface DriveRequest extends Omit<DeviceRequest, 'writable'> {
  /** Undefined: it is to be given one. */
  name: string | undefined;
  /** Name of the image; null: the options say it all. */
  file: string | null;
  /** Options of the image. */
  image: LooseOptions;
  cache: NonNullable<OpenOptions['cache']>;
}

/** Tells monitors of an event. */
export type EmitEvent = <K extends keyof QapiEvents>(event: K, data: QapiEvents[K]) => void;

interface Drive {
  device: Device;
  policy: DevicePolicy;
  /** What limits it; null: nothing does. */
  limited: { group: string; by: ThrottleGroup } | null;
}

export class Drives {
  readonly machine: Machine;
  readonly #graph: Graph;
  readonly #emit: EmitEvent;
  readonly #drives = new Map<string, Drive>();
  /** Groups that are no objects: each ends with its last member. */
  readonly #groups = new Map<string, ThrottleGroup>();

  constructor(graph: Graph, emit: EmitEvent) {
    this.#graph = graph;
    this.#emit = emit;
    this.machine = new Machine({ stopped: () => emit('STOP', {}), resumed: () => emit('RESUME', {}) });
  }

  /** Opens an image and makes a device on it. Rejects as `openNode`, with `exists` for the name, with `invalid-argument` for limits. */
  async add(request: DriveRequest): Promise<Device> {
    const name = request.name ?? this.#freeName();
    // All that can be refused is refused before the image is opened.
    this.#checkName(name);
    parseThrottleLimits(limitsOf(request.throttling).limits);
    const named = request.file === null ? null : await this.#named(request.file, request.image);
    const node = await openNode(this.#graph, named ?? request.image, { cache: request.cache });
    try {
      return this.put(name, node, { ...request, writable: !node.readOnly });
    } catch (error) {
      await this.#graph.release(node).catch(bestEffort('closing after a failure'));
      throw error;
    }
  }

  /**
   * Makes a device on an open node: from now on the device alone keeps it open. Throws `exists` where a device or a node has that name (the image's own
   * options may have given it), `permission`, and `invalid-argument` for the name and for limits.
   */
  put(name: string, node: BlockNode, request: DeviceRequest): Device {
    this.#checkName(name);
    const { group = name, limits } = limitsOf(request.throttling);
    const limited = parseThrottleLimits(limits).buckets.length > 0;
    const policy = this.#policyOf(name, request);
    const device = new Device(node, {
      name,
      writable: request.writable,
      // As those of a machine that shares its disks: exports and jobs work beside it.
      shared: PERM_ALL,
      accounting: new Accounting(this.#graph.host.clock, {
        invalid: request.accountInvalid,
        failed: request.accountFailed,
        intervals: request.intervals,
      }),
      writethrough: request.writethrough,
      policy,
    });
    const drive: Drive = { device, policy, limited: null };
    this.#drives.set(name, drive);
    this.#graph.devices.set(name, rootOf(device));
    this.machine.add(device);
    if (limited) this.#limit(drive, group, limits);
    return device;
  }

  #freeName(): string {
    for (let number = this.#drives.size; ; number++) {
      const name = `none${number}`;
      if (!this.#drives.has(name)) return name;
    }
  }

  #checkName(name: string): void {
    checkIdentifier(name);
    if (this.#drives.has(name)) throw new BlockError('exists', `Duplicate ID '${name}' for drive`);
    if (!this.#graph.nodes.has(name)) return;
    throw new BlockError('exists', `Device name '${name}' conflicts with an existing node name`);
  }

  async #named(file: string, image: LooseOptions): Promise<LooseOptions> {
    return image.over((await optionsOfName(this.#graph, file, image.driver)).members);
  }

  #policyOf(name: string, { onRead, onWrite }: DeviceRequest): DevicePolicy {
    return new DevicePolicy(onRead, onWrite, {
      failed: (event) => {
        const root = this.#graph.devices.get(name);
        this.#emit('BLOCK_IO_ERROR', { device: name, ...(root && { 'node-name': root.node.nodeName }), ...event });
      },
      stop: () => this.machine.hold('io-error'),
    });
  }

  /** The group gets these limits, also for those that are in it already. */
  #limit(drive: Drive, group: string, limits: ThrottleLimits): void {
    let by = this.#graph.objects.findThrottleGroup(group) ?? this.#groups.get(group);
    if (by === undefined) {
      by = new ThrottleGroup(this.#graph.host.clock, limits);
      this.#groups.set(group, by);
    } else by.config(limits);
    drive.limited = { group, by };
    drive.device.setThrottle(by.join());
  }

  /** The device of that name; undefined where there is none. */
  find(name: string): Device | undefined {
    return this.#drives.get(name)?.device;
  }

  /** The device of that name. Throws `device-not-found`. */
  get(name: string): Device {
    return this.#get(name).device;
  }

  #get(name: string): Drive {
    const drive = this.#drives.get(name);
    if (drive !== undefined) return drive;
    throw new BlockError('device-not-found', `Device '${name}' not found`);
  }

  /** Other limits for a device, or none; `group`: the one that is to share them. Throws `device-not-found`, `invalid-argument`: then nothing has changed. */
  setLimits(name: string, limits: ThrottleLimits, group?: string): void {
    const drive = this.#get(name);
    if (parseThrottleLimits(limits).buckets.length === 0) {
      this.#unlimit(drive);
      return;
    }
    const wanted = group ?? drive.limited?.group ?? name;
    if (drive.limited?.group === wanted) {
      drive.limited.by.config(limits);
      return;
    }
    this.#unlimit(drive);
    this.#limit(drive, wanted, limits);
  }

  /** It leaves its group, whose limits hold for the others. */
  #unlimit(drive: Drive): void {
    if (drive.limited === null) return;
    const { group, by } = drive.limited;
    drive.limited = null;
    drive.device.setThrottle(null);
    if (by.memberCount === 0 && this.#groups.get(group) === by) this.#groups.delete(group);
  }

  /** Lets all devices go on; those that had stopped at an error are as new. */
  resume(): void {
    if (this.machine.running) return;
    for (const { policy } of this.#drives.values()) policy.reset();
    this.machine.resume();
  }

  /** What `query-block` tells, in the order in which they were made. */
  infos(): Promise<BlockInfo[]> {
    return Promise.all([...this.#drives.values()].map((drive) => this.#infoOf(drive)));
  }

  async #infoOf({ device, policy, limited }: Drive): Promise<BlockInfo> {
    let inserted: BlockDeviceInfo | null = null;
    // Another node may be put in the root's place, and the old one closed.
    while (inserted === null)
      inserted = await ofOpenNode(skipImplicit(rootOf(device).node), (node) => nodeInfo(node, false));
    inserted.cache.writeback = !device.writethrough;
    if (limited !== null) {
      Object.assign(inserted, limitsInfo({ group: limited.group, limits: limited.by.limits }));
    }
    const status = policy.ioStatus;
    return {
      device: device.name,
      type: 'unknown',
      removable: false,
      locked: false,
      inserted,
      ...(status !== undefined && { 'io-status': status }),
    };
  }

  /** What `query-blockstats` tells of devices. */
  stats(): BlockStats[] {
    return [...this.#drives.values()].map(({ device }) => deviceStats(device, skipImplicit(rootOf(device).node)));
  }

  /** Before exports are closed, which wait for their requests: those that wait for a throttle pass. */
  unlimit(): void {
    for (const { device } of this.#drives.values()) device.setThrottle(null);
  }

  /** Ends all devices; requests that wait for `resume` are rejected with `closed`. */
  async close(): Promise<void> {
    for (const { device } of this.#drives.values()) {
      this.machine.remove(device);
      this.#graph.devices.delete(device.name);
      await device.close();
    }
    this.#drives.clear();
  }
}

function limitsOf({ group, ...limits }: DriveThrottling): { group: string | undefined; limits: ThrottleLimits } {
  return { group, limits };
}
