// A format in memory for the tests of the jobs: clusters that are allocated, zero, or come from the backing node; answers
// that come late and out of order; errors on demand. What a request does, it does at one moment.

import type { Graph } from '../../src/block/graph.js';
import { FormatNode } from '../../src/block/node/format.js';
import type { BlockStatus, WriteFlags, ZeroFlags } from '../../src/block/types.js';
import type { ZeroScan } from '../../src/host/host.js';
import { BlockError } from '../../src/util/errors.js';

export interface MemoryNodeOptions {
  name: string;
  size: number;
  clusterBytes?: number;
  backing?: MemoryNode;
  readOnly?: boolean;
  /** Answers take from 0 to so many milliseconds of the host's clock, drawn from its random numbers. */
  latencyMs?: number;
}

type Request = 'read' | 'write' | 'zero' | 'flush' | 'header';

export class MemoryNode extends FormatNode {
  readonly driver = 'memory';
  readonly filename: string;
  readonly #cluster: number;
  readonly #latencyMs: number;
  readonly clusters = new Map<number, Uint8Array | 'zero'>();
  /** Throws to make a request fail. */
  fault: ((request: Request, offset: number, length: number) => void) | null = null;
  counts: Record<Request, number> = { read: 0, write: 0, zero: 0, flush: 0, header: 0 };
  expected = 0;

  constructor(graph: Graph, options: MemoryNodeOptions) {
    super(graph, { nodeName: options.name, readOnly: options.readOnly ?? false });
    this.filename = `/${options.name}.img`;
    this.#cluster = options.clusterBytes ?? 65536;
    this.#latencyMs = options.latencyMs ?? 0;
    this.length = options.size;
    graph.add(this);
    if (options.backing !== undefined) {
      this.setChild('backing', options.backing, 'cow');
      this.backingFile = options.backing.filename;
      this.backingFormat = options.backing.driver;
    }
  }

  override get clusterBytes(): number {
    return this.#cluster;
  }

  override expectWrites(bytes: number): void {
    this.expected += bytes;
  }

  /** Writes past every check, at once. */
  poke(offset: number, data: Uint8Array): void {
    for (let at = 0; at < data.length; ) {
      const inside = (offset + at) % this.#cluster;
      const part = Math.min(data.length - at, this.#cluster - inside);
      const bytes = this.#own(Math.floor((offset + at) / this.#cluster), null);
      bytes.set(data.subarray(at, at + part), inside);
      at += part;
    }
  }

  /** Marks clusters as zero, at once. */
  pokeZero(offset: number, length: number): void {
    for (let at = offset; at < offset + length; at += this.#cluster) {
      this.clusters.set(Math.floor(at / this.#cluster), 'zero');
    }
  }

  /** Everything that a guest sees, at once. */
  content(length: number = this.length): Buffer {
    const all = Buffer.alloc(length);
    const below = this.children.get('backing')?.node as MemoryNode | undefined;
    below?.content(Math.min(length, below.length)).copy(all);
    for (const [index, bytes] of this.clusters) {
      const start = index * this.#cluster;
      if (start >= length) continue;
      if (bytes === 'zero') all.fill(0, start, Math.min(length, start + this.#cluster));
      else all.set(bytes.subarray(0, Math.min(bytes.length, length - start)), start);
    }
    return all;
  }

  protected override async doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    await this.#request('read', offset, buffer.length);
    const below = this.children.get('backing')?.node ?? null;
    const parts: Promise<void>[] = [];
    for (const { index, inside, at, length } of this.#split(offset, buffer.length)) {
      const own = this.clusters.get(index);
      const into = buffer.subarray(at, at + length);
      if (own instanceof Uint8Array) into.set(own.subarray(inside, inside + length));
      else {
        into.fill(0);
        const readable = own === 'zero' || below === null ? 0 : Math.min(length, below.length - offset - at);
        if (readable > 0) parts.push(below!.read(offset + at, into.subarray(0, readable)));
      }
    }
    await Promise.all(parts);
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  protected override async doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    const kindOf = (index: number) => {
      const own = this.clusters.get(index);
      return own === undefined ? 'none' : own === 'zero' ? 'zero' : 'data';
    };
    const first = Math.floor(offset / this.#cluster);
    const kind = kindOf(first);
    let last = first + 1;
    while (last * this.#cluster < offset + length && kindOf(last) === kind) last++;
    return {
      length: Math.min(length, last * this.#cluster - offset),
      allocated: kind !== 'none',
      data: kind === 'data',
      zero: kind === 'zero' || (kind === 'none' && !this.children.has('backing')),
      compressed: false,
      offset: -1,
      node: null,
    };
  }

  protected override async doWrite(offset: number, buffer: Uint8Array, _flags: WriteFlags): Promise<void> {
    const data = Uint8Array.from(buffer);
    await this.#request('write', offset, data.length);
    for (const { index, inside, at, length } of this.#split(offset, data.length)) {
      const old = length === this.#cluster || this.clusters.has(index) ? null : await this.#below(index);
      this.#own(index, old).set(data.subarray(at, at + length), inside);
    }
  }

  protected override async doWriteZeroes(offset: number, length: number, _flags: ZeroFlags): Promise<void> {
    await this.#request('zero', offset, length);
    for (const { index, inside, length: part } of this.#split(offset, length)) {
      if (part === this.#cluster || offset + length === this.length) {
        if (inside === 0) {
          this.clusters.set(index, 'zero');
          continue;
        }
      }
      const old = this.clusters.has(index) ? null : await this.#below(index);
      this.#own(index, old).fill(0, inside, inside + part);
    }
  }

  protected override async doFlush(): Promise<void> {
    await this.#request('flush', 0, 0);
  }

  protected override async doTruncate(size: number): Promise<void> {
    for (const index of [...this.clusters.keys()]) {
      if (index * this.#cluster >= size) this.clusters.delete(index);
    }
  }

  override checkBackingChange(): void {}

  protected override async doChangeBackingFile(): Promise<void> {
    await this.#request('header', 0, 0);
  }

  protected override async doMakeEmpty(): Promise<void> {
    this.clusters.clear();
  }

  #own(index: number, old: Uint8Array | null): Uint8Array {
    const have = this.clusters.get(index);
    if (have instanceof Uint8Array) return have;
    const bytes = new Uint8Array(this.#cluster);
    if (have === undefined && old !== null) bytes.set(old);
    this.clusters.set(index, bytes);
    return bytes;
  }

  async #below(index: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(this.#cluster);
    const below = this.children.get('backing')?.node ?? null;
    const start = index * this.#cluster;
    if (below !== null && start < below.length) {
      await below.read(start, bytes.subarray(0, Math.min(this.#cluster, below.length - start)));
    }
    return bytes;
  }

  *#split(offset: number, total: number): Generator<{ index: number; inside: number; at: number; length: number }> {
    for (let at = 0; at < total; ) {
      const inside = (offset + at) % this.#cluster;
      const length = Math.min(total - at, this.#cluster - inside);
      yield { index: Math.floor((offset + at) / this.#cluster), inside, at, length };
      at += length;
    }
  }

  async #request(request: Request, offset: number, length: number): Promise<void> {
    this.counts[request]++;
    if (this.#latencyMs > 0) {
      const delay = (this.host.random() / 2 ** 32) * this.#latencyMs;
      await new Promise<void>((resolve) => this.host.clock.timer(delay, resolve));
    }
    try {
      this.fault?.(request, offset, length);
    } catch (error) {
      if (error instanceof BlockError) throw error;
      throw new BlockError('io', `${this.filename}: ${request} failed`, {
        path: this.filename,
        offset,
        length,
        cause: error,
      });
    }
  }
}

/** Bytes that tell where they belong: no two sectors alike. */
export function pattern(offset: number, length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at += 4) {
    bytes.writeUInt32LE(((Math.imul((offset + at) / 4 + 1, 2654435761) ^ Math.imul(seed, 40503)) | 1) >>> 0, at);
  }
  return bytes;
}
