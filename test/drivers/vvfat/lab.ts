// A folder of a test's own that is shown as a disk, on the real host.

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { Graph } from '../../../src/block/graph.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import { openNode } from '../../../src/block/open.js';
import { PERM_ALL, Perm } from '../../../src/block/types.js';
import { registerDrivers } from '../../../src/drivers/index.js';
import type { HostFile } from '../../../src/host/host.js';
import { openRealHost, type RealHost } from '../../../src/host/real/index.js';
import { requirePeer } from '../../support/peers.js';
import { linkTo } from '../support.js';

/** Bytes of the disk at which the file system of a hard disk begins. */
export const PARTITION_BYTES = 63 * 512;

const FILE_CHANGES: ReadonlySet<string> = new Set(['write', 'flush', 'truncate', 'close']);

export class FolderLab {
  readonly root = mkdtempSync(join(tmpdir(), 'diskwright-vvfat-'));
  readonly host: RealHost = openRealHost();
  readonly graph: Graph;
  /** What the graph warned of. */
  readonly warnings: string[] = [];
  readonly #open: BlockNode[] = [];

  constructor() {
    registerDrivers();
    this.graph = new Graph(this.host, { warn: (message) => this.warnings.push(message) });
  }

  /** Calls `before` before each call into the folders that are opened from now on, and into the files that are made in them (`file.write`, ...). */
  watch(before: (name: string, args: unknown[]) => unknown): void {
    const open = this.host.folders.open.bind(this.host.folders);
    const watched = <T extends object>(one: T, prefix: string, names: ReadonlySet<string> | null): T =>
      new Proxy(one, {
        get: (_target, name) => {
          const own: unknown = Reflect.get(one, name);
          if (typeof own !== 'function') return own;
          if (names !== null && !names.has(String(name))) return own.bind(one) as unknown;
          return async (...args: unknown[]) => {
            await before(prefix + String(name), args);
            const result: unknown = await Reflect.apply(own, one, args);
            return name === 'createFile' ? watched(result as HostFile, 'file.', FILE_CHANGES) : result;
          };
        },
      });
    this.host.folders.open = async (path) => watched(await open(path), '', null);
  }

  path(...names: string[]): string {
    return join(this.root, ...names);
  }

  /** Makes a file, and the folders that it lies in. */
  write(name: string, content: string | Uint8Array = name): void {
    const path = this.path(name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  }

  async open(own: object = {}, folder = 'disk'): Promise<BlockNode> {
    mkdirSync(this.path(folder), { recursive: true });
    const node = await openNode(this.graph, { driver: 'vvfat', dir: this.path(folder), 'read-only': true, ...own });
    this.#open.push(node);
    linkTo(node, node.readOnly ? Perm.CONSISTENT_READ : PERM_ALL);
    return node;
  }

  /** The file system of the disk, without the rest of a hard disk. */
  async fileSystem(own: { floppy?: boolean; 'fat-type'?: number; label?: string } = {}): Promise<Uint8Array> {
    const node = await this.open(own);
    const bytes = await bytesOf(node);
    return own.floppy ? bytes : bytes.subarray(PARTITION_BYTES);
  }

  async shut(node: BlockNode): Promise<void> {
    this.#open.splice(this.#open.indexOf(node), 1);
    for (const link of [...node.parents]) node.detach(link);
    await this.graph.release(node);
  }

  async close(): Promise<void> {
    // What was written and cannot be brought to the folder is of no matter here.
    for (const node of [...this.#open]) await this.shut(node).catch(() => undefined);
    await this.host.close();
    rmSync(this.root, { recursive: true });
  }
}

/** Gives each test of a `describe` a lab of its own, with an empty folder `disk`; a `Machine` needs mtools. */
export function useMachineLab(take: (lab: FolderLab) => void): void {
  let lab: FolderLab;
  before(function () {
    requirePeer(this, 'mcopy');
  });
  beforeEach(() => {
    lab = new FolderLab();
    mkdirSync(lab.path('disk'));
    take(lab);
  });
  afterEach(() => lab.close());
}

export async function bytesOf(node: BlockNode, offset = 0, length = node.length - offset): Promise<Uint8Array> {
  // What is not filled shows.
  const bytes = new Uint8Array(length).fill(0xee);
  await node.read(offset, bytes);
  return bytes;
}

/** What lies below a folder, by its path there; a folder has a slash behind its name, and no content. */
export function filesBelow(path: string, below = ''): Record<string, string> {
  const found: Record<string, string> = {};
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const name = below + entry.name;
    if (!entry.isDirectory()) found[name] = readFileSync(join(path, entry.name), 'utf8');
    else Object.assign(found, { [`${name}/`]: '' }, filesBelow(join(path, entry.name), `${name}/`));
  }
  return found;
}

/** What lies below the folder, without the image that is kept of a disk which could not be brought to it. */
export function withoutImage(files: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(files).filter(([name]) => !/^\.diskwright-[0-9a-f]{16}\.img$/.test(name)));
}

/** A machine that has the disk, and a copy of its file system in a file, which mtools changes. */
export class Machine {
  readonly #lab: FolderLab;
  readonly #node: BlockNode;
  /** Where the file system begins on the disk. */
  readonly #start: number;
  readonly #image: string;
  /** As the disk is, as far as the machine knows. */
  readonly disk: Buffer;

  private constructor(lab: FolderLab, node: BlockNode, start: number, disk: Buffer) {
    this.#lab = lab;
    this.#node = node;
    this.#start = start;
    this.#image = lab.path('machine.raw');
    this.disk = disk;
    writeFileSync(this.#image, disk.subarray(start));
  }

  static async start(lab: FolderLab, own: object): Promise<Machine> {
    const node = await lab.open({ rw: true, 'read-only': false, ...own });
    const start = 'floppy' in own ? 0 : PARTITION_BYTES;
    return new Machine(lab, node, start, Buffer.from(await bytesOf(node)));
  }

  /** Changes the copy. */
  mtools(program: string, ...args: string[]): string {
    const env = { ...process.env, LC_ALL: 'C.UTF-8', MTOOLS_SKIP_CHECK: '1' };
    return execFileSync(program, ['-i', this.#image, ...args], { env, encoding: 'utf8', input: '' });
  }

  /** Puts a file with this name on the copy, in place of one that is there. */
  copyOver(name: string): void {
    this.#lab.write('copied', `what the machine has put into ${name}`);
    this.mtools('mcopy', '-o', this.#lab.path('copied'), `::/${name}`);
  }

  /** fsck.fat finds nothing wrong with the copy. */
  check(): void {
    execFileSync('fsck.fat', ['-n', this.#image], {
      env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin` },
    });
  }

  /** Bytes of the copy's file system. */
  peek(offset: number, length: number): Uint8Array {
    return readFileSync(this.#image).subarray(offset, offset + length);
  }

  /** Changes one byte of what a file holds: the first one that says `text`. */
  touch(text: string): void {
    const at = readFileSync(this.#image).indexOf(text);
    expect(at).to.be.greaterThan(0);
    this.poke(at, [0x21]);
  }

  /** Changes bytes of the copy's file system. */
  poke(offset: number, bytes: Uint8Array | readonly number[]): void {
    const image = readFileSync(this.#image);
    image.set(bytes, offset);
    writeFileSync(this.#image, image);
  }

  /** Writes the sectors to the disk that differ on the copy. */
  async write(): Promise<void> {
    const image = readFileSync(this.#image);
    for (let at = 0; at < image.length; at += 512) {
      const sector = image.subarray(at, at + 512);
      const old = this.disk.subarray(this.#start + at, this.#start + at + 512);
      if (sector.equals(old)) continue;
      await this.#node.write(this.#start + at, Uint8Array.from(sector));
      old.set(sector);
    }
  }

  async flush(): Promise<void> {
    await this.write();
    await this.#node.flush();
  }

  /** The disk reads as the machine wrote it. */
  async expectSame(): Promise<void> {
    expect(Buffer.compare(this.disk, await bytesOf(this.#node))).to.equal(0);
  }

  /** Closes the disk. */
  stop(): Promise<void> {
    return this.#lab.shut(this.#node);
  }
}
