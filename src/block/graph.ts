// All nodes of one host by name, and the changes of their links. A change happens in a drained section: every device,
// job and export above stops to send, what is under way ends, the links move, all go on.
//
//        device                 device
//          |                      |
//         top --backing--> base  new --backing--> top ...

import type { Host } from '../host/host.js';
import { assert } from '../util/assert.js';
import { bestEffort } from '../util/best-effort.js';
import { BlockError } from '../util/errors.js';
import { Listeners } from '../util/listeners.js';
import { cowChild } from './chain.js';
import { type Child, checkPermissions, type NodeUser } from './child.js';
import type { OpenGate } from './gate.js';
import type { GraphEvents } from './graph-events.js';
import { BlockNode } from './node/node.js';
import { applyPermissions } from './node/permissions.js';
import { UserObjects } from './objects/index.js';
import { Quiescence } from './quiescence.js';

/** A file that the program writes its own words to, or reads by itself. */
export interface ReservedFile {
  /** What it does there, for the message: `standard output goes to`. */
  readonly what: string;
  /** Called where it was refused as an image: from now on the program writes nothing there. */
  refused(): void;
}

export interface GraphOptions {
  /** Opens what images refer to. Default: all is opened that an image may name. */
  gate?: OpenGate;
  /** Receives one-line warnings, e.g. of a probed raw image. */
  warn?: (message: string) => void;
  /** Files (`FileInfo.id`) that the program itself writes to, or reads: they are not opened as images. */
  reserved?: ReadonlyMap<string, ReservedFile>;
  /** The graph's users know files and no nodes: errors call a node by its file where the graph made its name up. */
  namesFiles?: boolean;
}

export class Graph {
  readonly host: Host;
  readonly gate: OpenGate | null;
  readonly warn: (message: string) => void;
  readonly reserved: ReadonlyMap<string, ReservedFile>;
  readonly #namesFiles: boolean;
  readonly nodes = new Map<string, BlockNode>();
  /** Root links of the devices that have a name for commands; each moves on with its device. */
  readonly devices = new Map<string, Child>();
  /** What nodes tell monitors of. */
  readonly events = new Listeners<GraphEvents>('graph event');
  readonly quiescence = new Quiescence();
  #objects: UserObjects | undefined;
  readonly #reservedNames = new Set<string>();
  /** Nobody but their users keeps them open: see `release`. */
  readonly #released = new Set<BlockNode>();
  /** Nodes of them that are being closed, because the last user has gone. */
  readonly #closing = new Set<Promise<void>>();
  #nextName = 0;

  constructor(host: Host, options: GraphOptions = {}) {
    this.host = host;
    this.gate = options.gate ?? null;
    this.reserved = options.reserved ?? new Map();
    this.#namesFiles = options.namesFiles ?? false;
    this.warn = options.warn ?? (() => {});
    this.quiescence.watch(() => this.#closeUnused());
  }

  /** Secrets, credentials and lists of who may come in. Most commands have none. */
  get objects(): UserObjects {
    this.#objects ??= new UserObjects(this.host);
    return this.#objects;
  }

  /** A free name of the kind that QEMU gives: `#block42`. */
  makeName(): string {
    let name: string;
    do {
      name = `#block${this.#nextName++}`;
    } while (this.nodes.has(name));
    return name;
  }

  /** What errors call a node, as `kind` and by its name, or by that of its device: `Node 'disk'`. */
  titleOf(node: { readonly nodeName: string; readonly filename: string }, kind: string): string {
    const name = this.deviceOf(node) ?? node.nodeName;
    return this.#namesFiles && name.startsWith('#') ? `'${node.filename}'` : `${kind} '${name}'`;
  }

  /** Keeps a name for a node that is being opened, until `freeName`. Throws `exists`. */
  reserveName(name: string): void {
    if (this.devices.has(name)) {
      throw new BlockError('exists', `node-name=${name} is conflicting with a device id`);
    }
    if (this.nodes.has(name) || this.#reservedNames.has(name)) {
      throw new BlockError('exists', `Duplicate nodes with node-name='${name}'`);
    }
    this.#reservedNames.add(name);
  }

  freeName(name: string): void {
    this.#reservedNames.delete(name);
  }

  add(node: BlockNode): void {
    if (this.nodes.has(node.nodeName)) {
      throw new BlockError('exists', `Duplicate nodes with node-name='${node.nodeName}'`, { path: node.filename });
    }
    this.nodes.set(node.nodeName, node);
  }

  find(name: string): BlockNode {
    const node = this.nodes.get(name);
    if (node === undefined) throw new BlockError('not-found', `Cannot find device='' nor node-name='${name}'`);
    return node;
  }

  /** The root node of the device of that name, or the node; undefined where there is neither. */
  lookUp(name: string): BlockNode | undefined {
    return this.devices.get(name)?.node ?? this.nodes.get(name);
  }

  /** Name of the device whose root `node` is; undefined where it is the root of none. */
  deviceOf(node: object): string | undefined {
    for (const [name, root] of this.devices) if (root.node === node) return name;
    return undefined;
  }

  /**
   * Whoever opened `node` does not need it any more: closes it where nobody uses it. Where somebody does, it is closed when the last user goes, which may be a
   * job or an export that ends much later.
   */
  async release(node: BlockNode): Promise<void> {
    if (node.closed) return;
    if (node.parents.size > 0) {
      this.#released.add(node);
      return;
    }
    this.#released.delete(node);
    this.nodes.delete(node.nodeName);
    await node.close();
  }

  /** Called after each change of links. A node in a drained section may be about to get its users back. */
  #closeUnused(): void {
    for (const node of this.#released) {
      if (node.shut) this.#released.delete(node);
      else if (node.parents.size === 0 && node.quiesceCount === 0) {
        const closing = this.release(node);
        this.#closing.add(closing);
        const over = () => void this.#closing.delete(closing);
        closing.then(over, (error: unknown) => {
          over();
          // It is an error of whoever waits in `unusedClosed`.
          bestEffort('closing a node with its last user')(error);
        });
      }
    }
  }

  /** Resolves when the nodes that were closed with their last users are closed, so that what lies below them is free again. Rejects with what failed there. */
  async unusedClosed(): Promise<void> {
    for (const end of await Promise.allSettled(this.#closing)) if (end.status === 'rejected') throw end.reason;
  }

  /**
   * Runs `action` while nothing is sent to, and nothing is under way in, `nodes` and what lies above them: a drained section. Who attaches
   * there meanwhile waits for its end, and a node that is put in the place of one of `nodes` belongs to it.
   */
  async drained<T>(nodes: readonly BlockNode[], action: () => Promise<T>): Promise<T> {
    const section = this.quiescence.begin(nodes);
    try {
      await this.quiescence.settled(section);
      return await action();
    } finally {
      this.quiescence.end(section);
    }
  }

  /**
   * Every user of `from` becomes a user of `to`, except those whose role stays (see `roles.ts`) and the nodes that `to`, or `apart`, lies
   * on. Within a drained section. Throws `permission`, `read-only`, `locked`; then nothing has changed.
   */
  replaceNode(from: BlockNode, to: BlockNode, apart: BlockNode = to): void {
    const below = (user: NodeUser) => user instanceof BlockNode && (to.reaches(user) || apart.reaches(user));
    const moving = [...from.parents].filter(({ role, user }) => !role.stays && !below(user));
    for (const child of moving) {
      to.checkWriter(child.perm);
      checkPermissions(to, child);
    }
    this.quiescence.change(() => this.#move(moving, from, to));
  }

  /**
   * `filter` takes the place of what it filters, for all but those who lie below it or `apart`. Within a drained section. Throws as `replaceNode`;
   * then nothing has changed.
   */
  insertFilter(filter: BlockNode, apart?: BlockNode): void {
    this.replaceNode(filteredLink(filter).node, filter, apart);
  }

  /** What `filter` filters takes its place. Within a drained section. Throws as `replaceNode`; then nothing has changed. */
  removeFilter(filter: BlockNode): void {
    const link = filteredLink(filter);
    this.quiescence.change(() => {
      // First: its needs are those of its users, which have them themselves from now on.
      filter.exchangeChild(link.name, undefined);
      try {
        this.replaceNode(filter, link.node);
      } catch (error) {
        filter.exchangeChild(link.name, link);
        throw error;
      }
    });
  }

  #move(moving: readonly Child[], from: BlockNode, to: BlockNode): void {
    for (const child of moving) {
      from.parents.delete(child);
      child.node = to;
      to.parents.add(child);
    }
    try {
      applyPermissions([to, from]);
    } catch (error) {
      for (const child of moving) {
        to.parents.delete(child);
        child.node = from;
        from.parents.add(child);
      }
      throw error;
    }
    this.quiescence.join(from, to);
  }

  /** `overlay` gets another backing node (or none). Within a drained section; the old one is released. */
  async setBacking(overlay: BlockNode, backing: BlockNode | null): Promise<void> {
    const old = cowChild(overlay)?.node ?? null;
    if (old === backing) return;
    if (backing === null) overlay.removeChild('backing');
    else overlay.setChild('backing', backing, 'cow');
    if (old !== null) await this.release(old);
  }

  /** Everything is to be closed soon: see `BlockNode.abortStalled`. */
  abortStalled(): void {
    for (const node of this.nodes.values()) node.abortStalled();
  }

  /** Closes everything, users or not: the end of a command. Every node is tried; the first error is thrown. */
  async closeAll(): Promise<void> {
    let failure: unknown;
    this.abortStalled();
    for (;;) {
      // A node that is closed with its last user needs what lies below it until that is over; and the end of one may begin that of another.
      while (this.#closing.size > 0) {
        await this.unusedClosed().catch((error: unknown) => {
          failure ??= error;
        });
      }
      if (this.nodes.size === 0) break;
      const tops = this.#tops();
      assert(tops.length > 0, 'the graph has no cycle');
      for (const node of tops) {
        try {
          await node.close();
        } catch (error) {
          failure ??= error;
        }
        this.nodes.delete(node.nodeName);
      }
    }
    if (failure !== undefined) throw failure;
  }

  /** Nodes that no open node of the graph has as its child. A child may be older than its parents, and be kept open by other users when these close. */
  #tops(): BlockNode[] {
    const below = ({ user }: Child) =>
      user instanceof BlockNode && !user.closed && this.nodes.get(user.nodeName) === user;
    return [...this.nodes.values()].filter(({ parents }) => ![...parents].some(below));
  }
}

function filteredLink(filter: BlockNode): Child {
  const link = filter.primary;
  assert(link?.role.filtered === true, 'a filter filters something');
  return link;
}
