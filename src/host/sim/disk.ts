// The file system of the simulated host: paths, symbolic links, and free space. Creating and removing a name is durable at once (a journal would order it);
// the content of a file is not (see changes.ts).

import { posix } from 'node:path';
import type { FileInfo, FileKind } from '../host.js';
import type { Change, CrashStyle } from './changes.js';
import { systemError } from './engine.js';
import type { SimOperation } from './faults.js';
import { Inode } from './inode.js';
import type { Random } from './random.js';
import type { SparseBytes } from './sparse.js';

/** Operations that a file system may not support; and `move`: the host's copy step. */
export const SIM_FEATURES = [
  'seek',
  'allocate',
  'punchHole',
  'zeroRange',
  'discard',
  'copyRange',
  'move',
] as const satisfies readonly (SimOperation | 'move')[];

export type SimFeature = (typeof SIM_FEATURES)[number];

const MAX_LINKS = 40;

export class SimDisk {
  capacity: number;
  unsupported: ReadonlySet<SimFeature>;
  private readonly inodes = new Map<string, Inode>();
  private readonly links = new Map<string, string>();
  private nextInode = 1;
  /** Changes of requests in flight that have not taken effect. */
  readonly inFlight = new Set<{ inode: Inode; change: Change }>();

  constructor(capacity: number, unsupported: ReadonlySet<SimFeature>) {
    this.capacity = capacity;
    this.unsupported = unsupported;
  }

  get used(): number {
    let used = 0;
    for (const inode of this.inodes.values()) if (inode.kind === 'file') used += inode.current.allocated;
    return used;
  }

  get free(): number {
    return Math.max(0, this.capacity - this.used);
  }

  /** Names of all files, sorted. */
  paths(): string[] {
    return [...this.inodes.keys()].sort();
  }

  /** The path after following all symbolic links. */
  resolve(path: string, operation: SimOperation): string {
    let at = posix.resolve('/', path);
    for (let i = 0; i < MAX_LINKS; i++) {
      const target = this.links.get(at);
      if (target === undefined) return at;
      at = posix.resolve(posix.dirname(at), target);
    }
    throw systemError('ELOOP', { operation, path, offset: 0, length: 0 });
  }

  find(path: string, operation: SimOperation): Inode | undefined {
    return this.inodes.get(this.resolve(path, operation));
  }

  get(path: string, operation: SimOperation): Inode {
    const inode = this.find(path, operation);
    if (inode === undefined) throw systemError('ENOENT', { operation, path, offset: 0, length: 0 });
    return inode;
  }

  isDirectory(path: string): boolean {
    const prefix = path === '/' ? path : `${path}/`;
    return path === '/' || this.paths().some((name) => name.startsWith(prefix));
  }

  create(path: string, kind: FileKind, operation: SimOperation, content?: SparseBytes): Inode {
    const inode = new Inode(`1:${this.nextInode++}`, kind, content);
    this.inodes.set(this.resolve(path, operation), inode);
    return inode;
  }

  link(path: string, target: string): void {
    this.links.set(posix.resolve('/', path), target);
  }

  unlink(path: string): void {
    const at = posix.resolve('/', path);
    if (this.links.delete(at)) return;
    this.get(at, 'unlink');
    this.inodes.delete(at);
  }

  infoOf(inode: Inode): FileInfo {
    return {
      kind: inode.kind,
      size: inode.current.size,
      allocated: inode.current.allocated,
      id: inode.id,
      mtimeMs: inode.mtimeMs,
    };
  }

  /** A disk with the present content of this one. */
  copy(): SimDisk {
    return this.rebuild((inode) => inode.current.clone());
  }

  /** A disk with the content of this one after power loss. */
  afterPowerLoss(style: CrashStyle, random: Random): SimDisk {
    const changesOf = (inode: Inode) => [...this.inFlight].filter((item) => item.inode === inode).map((i) => i.change);
    return this.rebuild((inode) => inode.survivors(changesOf(inode), style, random));
  }

  private rebuild(content: (inode: Inode) => SparseBytes): SimDisk {
    const disk = new SimDisk(this.capacity, this.unsupported);
    for (const path of this.paths()) {
      const inode = this.inodes.get(path)!;
      disk.create(path, inode.kind, 'open', content(inode)).mtimeMs = inode.mtimeMs;
    }
    for (const [path, target] of this.links) disk.link(path, target);
    return disk;
  }
}
