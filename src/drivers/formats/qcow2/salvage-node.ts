// A damaged image as a node that is only read: what can be read of the disk is, and the rest is zeroes. No request fails for what is lost.
//
//   open     header -> layout -> survey (salvage-header, -layout, -survey): what is lost by the tables
//   read     L1 -> L2 -> cluster, each entry judged again: what is lost by the medium, or does not inflate

import type { Abilities } from '../../../block/abilities.js';
import type { Child } from '../../../block/child.js';
import { formatNodeName } from '../../../block/filename.js';
import type { Graph } from '../../../block/graph.js';
import { FormatNode } from '../../../block/node/format.js';
import type { BlockNode, NodeOptions } from '../../../block/node/node.js';
import type { Permissions } from '../../../block/roles.js';
import type { SalvageLog, SalvageReason } from '../../../block/salvage.js';
import type { BlockStatus } from '../../../block/types.js';
import type { CompressionType, ZeroScan } from '../../../host/host.js';
import { BlockError } from '../../../util/errors.js';
import { decryptPieces } from '../encryption/pieces.js';
import type { ImageEncryption } from './crypt.js';
import { zeroInFile, zeroInFileSync } from './preallocation.js';
import type { Claims } from './salvage-claims.js';
import { type EntryRules, isInMetadata, Verdict } from './salvage-entries.js';
import { readWhatCan, refuseToGoOn } from './salvage-read.js';
import { LOST_TABLE, NO_TABLE } from './salvage-survey.js';
import type { SalvagedTable, TableReader } from './salvage-tables.js';
import { type Geometry, SECTOR } from './types.js';

/** What was found of the disk. */
export interface SalvagedDisk {
  geometry: Geometry;
  rules: EntryRules;
  claims: Claims;
  tables: TableReader;
  /** By L1 index: the offset of the L2 table, `NO_TABLE` or `LOST_TABLE`. */
  l1: Float64Array;
  encryption: ImageEncryption | null;
  /** What compressed clusters are tried with, in this order. */
  codecs: readonly CompressionType[];
}

/** `lost`: zeroes; `absent`: as the backing file has it. */
type RunKind = 'absent' | 'zero' | 'lost' | 'data' | 'compressed';

/** A part of the disk: within one L2 table, or without any. */
interface Run {
  kind: RunKind;
  length: number;
  /** Of its first byte, or of compressed data. */
  host: number;
  /** Of compressed data. */
  stored: number;
}

export class SalvagedNode extends FormatNode {
  override readonly driver = 'qcow2';
  override readonly filename: string;
  override requestAlignment = SECTOR;
  readonly log: SalvageLog;
  #disk: SalvagedDisk | null = null;
  /** The content lies there at the guest's offsets, whatever the tables say. */
  #raw: Child | null = null;
  readonly #verdict = new Verdict();

  constructor(graph: Graph, options: NodeOptions, file: BlockNode, permissions: Permissions, log: SalvageLog) {
    super(graph, options);
    this.filename = formatNodeName(this.driver, {}, file);
    this.log = log;
    this.setChild('file', file, 'image', permissions);
  }

  /** The disk, with what was found of it. */
  showDisk(disk: SalvagedDisk, size: number): void {
    this.#disk = disk;
    this.length = size;
  }

  /** The disk as a raw data file has it. */
  showRaw(content: Child, size: number): void {
    this.#raw = content;
    this.length = size;
  }

  override get abilities(): Abilities {
    return {};
  }

  override get clusterBytes(): number {
    return this.#disk?.geometry.clusterSize ?? 0;
  }

  protected override async doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    if (this.#raw !== null) await this.#readPlain(this.#raw, offset, offset, buffer, 'unreadable');
    else {
      for (let done = 0; done < buffer.length; ) {
        const run = await this.#runAt(offset + done, buffer.length - done);
        await this.#readRun(run, offset + done, buffer.subarray(done, done + run.length));
        done += run.length;
      }
    }
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  async #readRun({ kind, host, stored }: Run, offset: number, buffer: Uint8Array): Promise<void> {
    switch (kind) {
      case 'absent':
        return this.#readBacking(offset, buffer);
      case 'data':
        return this.#readData(host, offset, buffer);
      case 'compressed':
        return this.#readCompressed(host, stored, offset, buffer);
      default:
        buffer.fill(0);
    }
  }

  async #readBacking(offset: number, buffer: Uint8Array): Promise<void> {
    const { cow } = this;
    const there = cow === null ? 0 : Math.max(0, Math.min(buffer.length, cow.length - offset));
    buffer.fill(0, there);
    if (there > 0) await this.#readPlain(cow!, offset, offset, buffer.subarray(0, there), 'backing-unreadable');
  }

  /** The end of a data file, as that of a raw image, is followed by zeroes. */
  async #readPlain(
    from: Child,
    host: number,
    offset: number,
    buffer: Uint8Array,
    reason: SalvageReason,
  ): Promise<void> {
    await readWhatCan(from, host, buffer, (begin, end, how) => {
      if (how === 'unreadable') this.log.lost.add(offset + begin, end - begin, reason, host + begin);
    });
  }

  async #readData(host: number, offset: number, buffer: Uint8Array): Promise<void> {
    const { encryption } = this.#known();
    const lost: [number, number][] = [];
    await readWhatCan(this.#content(), host, buffer, (from, to, how) => {
      lost.push([from, to]);
      // What lies beyond the end was listed by the survey.
      if (how === 'unreadable') this.log.lost.add(offset + from, to - from, 'unreadable', host + from);
    });
    if (encryption === null) return;
    await decryptPieces(encryption.content.cipher!, encryption.content.byGuest ? offset : host, buffer);
    for (const [from, to] of lost) buffer.fill(0, Math.floor(from / SECTOR) * SECTOR, Math.ceil(to / SECTOR) * SECTOR);
  }

  async #readCompressed(host: number, stored: number, offset: number, buffer: Uint8Array): Promise<void> {
    const { geometry } = this.#known();
    const { memory } = this.host;
    const lead = offset % geometry.clusterSize;
    const input = memory.allocate(stored);
    const output = memory.allocate(geometry.clusterSize);
    try {
      let readable = stored;
      let badSector = -1;
      await readWhatCan(this.primary!, host, input, (from, _, how) => {
        readable = Math.min(readable, from);
        if (how === 'unreadable' && badSector < 0) badSector = host + from;
      });
      // The data may end before what cannot be read.
      if (readable > 0 && (await this.#inflate(input.subarray(0, readable), output))) {
        buffer.set(output.subarray(lead, lead + buffer.length));
        return;
      }
      buffer.fill(0);
      const length = Math.min(geometry.clusterSize, this.length - (offset - lead));
      this.log.lost.add(
        offset - lead,
        length,
        badSector < 0 ? 'undecodable' : 'unreadable',
        badSector < 0 ? host : badSector,
      );
    } finally {
      memory.free(input);
      memory.free(output);
    }
  }

  async #inflate(input: Uint8Array, output: Uint8Array): Promise<boolean> {
    const { codecs } = this.host;
    for (const type of this.#known().codecs) {
      if (codecs.missing(type) !== null) continue;
      try {
        await codecs.decompress(type, input, output);
        return true;
      } catch (error) {
        refuseToGoOn(error);
      }
    }
    return false;
  }

  protected override async doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    if (this.#raw !== null) return this.#contentStatus(this.#raw, offset, length);
    const first = await this.#runAt(offset, length);
    const backing = this.cow?.length ?? 0;
    if (first.kind === 'absent') {
      if (offset >= backing) return status(first.length, 'zero');
      return { ...status(Math.min(first.length, backing - offset), 'data'), allocated: false, data: false };
    }
    if (!isData(first.kind)) return status(first.length, 'zero');
    // A hole of an encrypted image reads as anything but zeroes.
    if (first.kind === 'compressed' || this.#known().encryption !== null) return status(first.length, 'data');
    return this.#contentStatus(this.#content(), first.host, first.length);
  }

  /** Of data that lies at `host`: holes read as zeroes. An image with `preallocation=metadata` is nearly all holes. */
  async #contentStatus(content: Child, host: number, length: number): Promise<BlockStatus> {
    const whole = { ...status(length, 'data'), offset: host };
    try {
      const found = zeroInFileSync(content.node, whole) ?? (await zeroInFile(content.node, whole));
      return status(found.length, found.zero ? 'zero' : 'data');
    } catch (error) {
      refuseToGoOn(error);
      return status(length, 'data');
    }
  }

  /** The run at `offset`, up to the end of its L2 table at most, or of those that are not there. */
  async #runAt(offset: number, length: number): Promise<Run> {
    const { geometry, l1, tables } = this.#known();
    const { clusterSize, l2Span } = geometry;
    const index = Math.floor(offset / l2Span);
    const table = l1[index];
    if (table === NO_TABLE || table === LOST_TABLE) {
      // One run for all neighbours: a header may make up millions of them.
      let next = index + 1;
      while (next * l2Span < offset + length && l1[next] === table) next++;
      const until = Math.min(offset + length, next * l2Span);
      return { kind: table === NO_TABLE ? 'absent' : 'lost', length: until - offset, host: 0, stored: 0 };
    }
    const end = Math.min(offset + length, (index + 1) * l2Span);
    const entries = await tables.load(table);
    const unit = geometry.subclusterSize;
    const begin = index * l2Span;
    const lead = offset % unit;
    const at = (offset - begin - lead) / unit;
    const first = this.#part(entries, at);
    if (first.kind === 'compressed') {
      const rest = clusterSize - (offset % clusterSize);
      return { ...first, length: Math.min(rest, end - offset) };
    }
    let parts = 1;
    for (; begin + (at + parts) * unit < end; parts++) {
      const next = this.#part(entries, at + parts);
      if (next.kind !== first.kind || (next.kind === 'data' && next.host !== first.host + parts * unit)) break;
    }
    const bytes = Math.min(parts * unit - lead, end - offset);
    return { ...first, length: bytes, host: first.host + (first.kind === 'data' ? lead : 0) };
  }

  /** Subcluster `at` of those that a table describes. */
  #part(table: SalvagedTable, at: number): Run {
    const { claims, geometry, rules } = this.#known();
    const { subclusters, subclusterSize } = geometry;
    const slot = Math.floor(at / subclusters);
    const n = at % subclusters;
    const verdict = this.#verdict;
    if (table.missing(slot) !== null) return { kind: 'lost', length: 0, host: 0, stored: 0 };
    verdict.judge(table.view, slot, rules);
    const kind = kindOf(verdict, n, rules, claims);
    const host = verdict.host + (kind === 'data' ? n * subclusterSize : 0);
    return { kind, length: 0, host, stored: verdict.bytes };
  }

  /** The file that the content lies in. */
  #content(): Child {
    return this.#known().rules.isExternal ? this.children.get('data-file')! : this.primary!;
  }

  #known(): SalvagedDisk {
    if (this.#disk !== null) return this.#disk;
    throw BlockError.at(this.filename, 'bad-state', 'the image is not open yet', { operation: 'salvage' });
  }

  protected override async doClose(): Promise<void> {
    this.#disk?.encryption?.content.cipher?.close();
  }
}

function kindOf(verdict: Verdict, n: number, rules: EntryRules, claims: Claims): RunKind {
  const kind = verdict.part(n);
  switch (kind) {
    case 'empty':
      return 'absent';
    case 'zero':
      return 'zero';
    case 'none':
      return 'lost';
    default:
      return isInMetadata(verdict, rules, claims) ? 'lost' : kind;
  }
}

function isData(kind: RunKind): boolean {
  return kind === 'data' || kind === 'compressed';
}

function status(length: number, kind: 'data' | 'zero'): BlockStatus {
  const data = kind === 'data';
  return { length, allocated: true, data, zero: !data, compressed: false, offset: -1, node: null };
}
