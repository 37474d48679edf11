// What the tests of salvage share: images whose content is known, where their tables lie, and what a salvage must keep: no wrong byte outside of what it lists,
// zeroes where something is lost, and the damaged image untouched.

import { expect } from 'chai';
import type { SalvageRange, SalvageReport } from '../../../src/block/salvage.js';
import { createSimHost, type Random, type SimHost } from '../../../src/host/sim/index.js';
import type { ImageName, SalvageSettings } from '../../../src/library/options.js';
import { Workspace } from '../../../src/library/workspace.js';

export const IMAGE = '/image.qcow2';
export const BACKING = '/base.raw';
const TARGET = '/saved.raw';
const OFFSET = 0x00ff_ffff_ffff_fe00n;

export interface Kind {
  clusterSize: number;
  size: number;
  version?: 'v2' | 'v3';
  extended?: boolean;
  refcountBits?: number;
  compression?: 'zlib' | 'zstd';
  backing?: boolean;
  /** An internal snapshot is taken after half of the writes. */
  snapshot?: boolean;
  /** A data file of its own. */
  dataFile?: boolean;
  raw?: boolean;
}

/** An image, what its disk reads as, and its file. */
export interface Subject {
  host: SimHost;
  workspace: Workspace;
  kind: Kind;
  content: Buffer;
  /** What the snapshot reads as. */
  before: Buffer;
  file: Buffer;
}

/** Sectors that differ from each other. */
export function stamp(buffer: Uint8Array, offset: number, salt: number): Uint8Array {
  for (let at = 0; at < buffer.length; at++) {
    const sector = Math.floor((offset + at) / 512);
    buffer[at] = ((offset + at) & 511) < 8 ? (sector >>> (8 * (at & 3))) ^ salt : (sector * 7 + salt + at * 3) | 1;
  }
  return buffer;
}

/** Makes an image with data, compressed clusters, zeroes and holes here and there. */
export async function makeSubject(kind: Kind, random: Random): Promise<Subject> {
  const host = createSimHost();
  const workspace = new Workspace(host);
  const { clusterSize, size } = kind;
  const content = Buffer.alloc(size);
  if (kind.backing) {
    stamp(content, 0, 99);
    host.writeFile(BACKING, Buffer.from(content));
  }
  await workspace.create(IMAGE, {
    driver: 'qcow2',
    size,
    version: kind.version ?? 'v3',
    'cluster-size': clusterSize,
    ...(kind.extended && { 'extended-l2': true }),
    ...(kind.refcountBits && { 'refcount-bits': kind.refcountBits }),
    ...(kind.compression && { 'compression-type': kind.compression }),
    ...(kind.backing && { 'backing-file': 'base.raw', 'backing-fmt': 'raw' as const }),
    ...(kind.raw && { 'data-file-raw': true }),
    ...(kind.dataFile && { 'data-file': { driver: 'file' as const, filename: '/data.raw' } }),
  });
  const image = await workspace.open(IMAGE);
  const clusters = Math.floor(size / clusterSize);
  let before = Buffer.alloc(0);
  for (let i = 0; i < 14; i++) {
    if (i === 7 && kind.snapshot) {
      await image.flush();
      before = Buffer.from(content);
      await image.createSnapshot('before');
    }
    const count = random.between(1, 6);
    const offset = random.below(clusters - count) * clusterSize;
    const data = stamp(Buffer.alloc(count * clusterSize), offset, i + 1);
    const what = i < 2 ? 0 : random.below(10);
    if (what === 9) {
      await image.writeZeroes(offset, data.length);
      data.fill(0);
    } else if (what > 6 && !kind.dataFile) await image.write(offset, data, { compressed: true });
    else if (what > 4) {
      const [from, to] = [512 * random.between(0, 3), data.length - 512 * random.between(0, 3)];
      if (to <= from) continue;
      await image.write(offset + from, data.subarray(from, to));
      data.set(content.subarray(offset, offset + from));
      data.set(content.subarray(offset + to, offset + data.length), to);
    } else await image.write(offset, data);
    content.set(data, offset);
  }
  await image.close();
  return { host, workspace, kind, content, before, file: Buffer.from(host.readFile(IMAGE)) };
}

export interface Salvaged {
  report: SalvageReport;
  saved: Buffer;
}

/**
 * Salvages `file` in place of the image, and checks what must hold whatever the damage is. `expected`: what the disk should read as; `unseen`: offsets of clusters of
 * which nothing shows that they are damaged.
 */
export async function salvage(
  { host, workspace, content, kind }: Subject,
  file: Buffer,
  {
    settings = {},
    image = IMAGE,
    expected = content,
    unseen = new Set(),
  }: { settings?: SalvageSettings; image?: ImageName; expected?: Buffer; unseen?: ReadonlySet<number> } = {},
): Promise<Salvaged> {
  host.writeFile(IMAGE, Buffer.from(file));
  const report = await workspace.salvage(image, TARGET, settings);
  expect(Buffer.compare(Buffer.from(host.readFile(IMAGE)), file), 'the damaged image is untouched').to.equal(0);
  const saved = Buffer.from(host.readFile(TARGET));
  expect(saved.length).to.equal(report.size);
  for (const { offset, length } of report.lost) {
    expect(isZero(saved.subarray(offset, offset + length)), `what is lost at ${offset} is zeroes`).to.equal(true);
  }
  const wrong = wrongOutside(report, saved, expected).filter((at) => !unseen.has(at - (at % kind.clusterSize)));
  expect(wrong, 'wrong bytes that are not listed').to.deep.equal([]);
  return { report, saved };
}

/** Sectors that are wrong, and neither lost nor doubtful. */
function wrongOutside({ lost, doubtful }: SalvageReport, saved: Buffer, expected: Buffer): number[] {
  const listed = new Uint8Array(Math.ceil(expected.length / 512));
  for (const { offset, length } of [...lost, ...doubtful]) {
    listed.fill(1, Math.floor(offset / 512), Math.ceil((offset + length) / 512));
  }
  const wrong: number[] = [];
  for (let at = 0; at < expected.length; at += 512) {
    if (listed[at / 512] === 1) continue;
    const is = at < saved.length ? saved.subarray(at, at + 512) : Buffer.alloc(512);
    if (!is.equals(expected.subarray(at, at + is.length))) wrong.push(at);
  }
  return wrong;
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

/** `reason offset+length`, neighbours of one reason joined. */
export function listed(ranges: readonly SalvageRange[]): string[] {
  const joined: SalvageRange[] = [];
  for (const range of ranges) {
    const last = joined.at(-1);
    if (last !== undefined && last.reason === range.reason && last.offset + last.length === range.offset) {
      last.length += range.length;
    } else joined.push({ ...range });
  }
  return joined.map(({ reason, offset, length }) => `${reason} ${offset}+${length}`);
}

/** Where the tables of an image lie. */
export class Places {
  readonly file: Buffer;
  readonly clusterSize: number;
  readonly entryBytes: number;

  constructor(file: Buffer) {
    this.file = file;
    this.clusterSize = 2 ** file.readUInt32BE(20);
    this.entryBytes = file.readUInt32BE(4) === 3 && (file.readBigUInt64BE(72) & 16n) !== 0n ? 16 : 8;
  }

  get l1(): number {
    return Number(this.file.readBigUInt64BE(40));
  }

  get l1Size(): number {
    return this.file.readUInt32BE(36);
  }

  get span(): number {
    return (this.clusterSize / this.entryBytes) * this.clusterSize;
  }

  /** The L1 indexes with a table. */
  get used(): number[] {
    return Array.from({ length: this.l1Size }, (_, i) => i).filter((i) => this.l2(i) !== 0);
  }

  l2(index: number): number {
    return Number(this.file.readBigUInt64BE(this.l1 + 8 * index) & OFFSET);
  }

  /** Where the entry of a guest offset is; null where there is no table. */
  entry(guest: number): number | null {
    const table = this.l2(Math.floor(guest / this.span));
    return table === 0 ? null : table + Math.floor((guest % this.span) / this.clusterSize) * this.entryBytes;
  }

  /** Guest offsets of clusters, by what their entries are. */
  guests(what: 'data' | 'compressed'): number[] {
    const found: number[] = [];
    for (const index of this.used) {
      for (let slot = 0; slot < this.clusterSize / this.entryBytes; slot++) {
        const guest = index * this.span + slot * this.clusterSize;
        const entry = this.file.readBigUInt64BE(this.entry(guest)!);
        const isCompressed = (entry & (1n << 62n)) !== 0n;
        const hasData =
          this.entryBytes === 16 ? this.file.readUInt32BE(this.entry(guest)! + 12) !== 0 : (entry & 1n) === 0n;
        const isData = !isCompressed && (entry & OFFSET) !== 0n && hasData;
        if (what === 'data' ? isData : isCompressed) found.push(guest);
      }
    }
    return found;
  }

  host(guest: number): number {
    return Number(this.file.readBigUInt64BE(this.entry(guest)!) & OFFSET);
  }

  put(at: number, value: bigint | number): void {
    this.file.writeBigUInt64BE(BigInt(value), at);
  }
}
