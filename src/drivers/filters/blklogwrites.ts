// blklogwrites: passes everything on, and writes all writes, discards and flushes to a log, in their order, in the format of Linux's dm-log-writes
// (Documentation/admin-guide/device-mapper/log-writes.rst), so that a disk can be put together as it was at any moment.
//
//   log   | header | entry | its data ... | entry | its data ... | entry |
//         one sector each                                          ^ a flush, or a discard: no data
//
//   header   magic u64, version u64, number of entries u64, bytes of a sector u32     (little endian)
//   entry    first sector u64, sectors u64, flags u64, data_len u64 (0)
//
// The header is written with each flush, and after so many entries; what it does not count yet was not flushed.

import { type Child, readingUse, withLink } from '../../block/child.js';
import { nameAsOptions } from '../../block/filename.js';
import { FilterNode } from '../../block/node/filter.js';
import type { BlockNode } from '../../block/node/node.js';
import type { OpenRequest } from '../../block/registry.js';
import { type Permissions, ROLES } from '../../block/roles.js';
import type { Extent, Located, WriteFlags, ZeroFlags } from '../../block/types.js';
import type { BlockdevOptionsBlklogwrites } from '../../schema/generated/types.js';
import { viewOf } from '../../util/bytes.js';
import { BlockError } from '../../util/errors.js';
import { isPowerOfTwo } from '../../util/numbers.js';
import { Serial } from '../../util/serial.js';

const MAGIC = 0x6a736677736872n;
const VERSION = 1n;
const Flag = { flush: 1n, discard: 4n } as const;
const HEADER_BYTES = 28;
const DEFAULT_SECTOR_BYTES = 512;
/** An entry, or the header, has room in a sector. */
const MIN_SECTOR_BYTES = 32;
const MAX_SECTOR_BYTES = 1 << 23;
const DEFAULT_INTERVAL = 4096;

interface Log {
  sectorBytes: number;
  /** Where the next entry goes. */
  next: number;
  entries: number;
}

class BlklogwritesNode extends FilterNode {
  override readonly driver = 'blklogwrites';
  override readonly reopens = false;
  readonly #log: Log;
  readonly #interval: number;
  /** Entries go to the log one after the other. */
  readonly #writing = new Serial();

  constructor({ graph, node, options, use }: OpenRequest<'blklogwrites'>, file: BlockNode, log: BlockNode, at: Log) {
    super(graph, node, 'blklogwrites', nameOptions(options, log), file);
    this.#log = at;
    this.#interval = options['log-super-update-interval'] ?? DEFAULT_INTERVAL;
    this.requestAlignment = Math.max(at.sectorBytes, file.requestAlignment);
    this.setChild('log', log, 'data', ROLES.data.permissions(use));
  }

  get #link(): Child {
    return this.children.get('log')!;
  }

  override get abilities() {
    return this.passedDetails;
  }

  override needsOf(link: Child, perm: number, shared: number): Permissions | null {
    return link === this.primary ? { perm, shared } : null;
  }

  protected override get handlesFua(): boolean {
    return false;
  }

  protected override doLocate(offset: number, length: number, write: boolean, into: Located): boolean {
    return !write && super.doLocate(offset, length, write, into);
  }

  protected override async doWrite(offset: number, buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    await this.#append(offset, buffer.length, 0n, buffer);
    await super.doWrite(offset, buffer, flags);
  }

  protected override async doWriteExtents(extents: readonly Extent[], buffer: Uint8Array, flags: WriteFlags) {
    let at = 0;
    for (const { offset, length } of extents) {
      await this.doWrite(offset, buffer.subarray(at, at + length), flags);
      at += length;
    }
  }

  protected override async doWriteZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    await this.#append(offset, length, 0n, null);
    await super.doWriteZeroes(offset, length, flags);
  }

  protected override async doDiscard(offset: number, length: number): Promise<void> {
    await this.#append(offset, length, Flag.discard, undefined);
    await super.doDiscard(offset, length);
  }

  /** What the log says was flushed before is flushed in the log, too. */
  protected override async doFlush(): Promise<void> {
    await super.doFlush();
    if (this.readOnly) return;
    await this.#append(0, 0, Flag.flush, undefined);
    await this.#link.flush();
  }

  /** `data`: what follows the entry; null: zeroes; undefined: nothing. */
  async #append(offset: number, length: number, flags: bigint, data: Uint8Array | null | undefined): Promise<void> {
    const log = this.#log;
    await this.#writing.run(async () => {
      const at = log.next * log.sectorBytes;
      const sectors = length / log.sectorBytes;
      const end = at + log.sectorBytes + (data === undefined ? 0 : length);
      if (end > this.#link.length) await this.#link.truncate(end);
      await this.#writeSector(at, [BigInt(offset / log.sectorBytes), BigInt(sectors), flags, 0n]);
      if (data === null) await this.#link.writeZeroes(at + log.sectorBytes, length);
      else if (data !== undefined) await this.#link.write(at + log.sectorBytes, data);
      log.next = end / log.sectorBytes;
      log.entries++;
      if (flags === Flag.flush || log.entries % this.#interval === 0) await this.#writeHeader();
    });
  }

  #writeHeader(): Promise<void> {
    const { entries, sectorBytes } = this.#log;
    return this.#writeSector(0, [MAGIC, VERSION, BigInt(entries), BigInt(sectorBytes)]);
  }

  async #writeSector(at: number, words: readonly bigint[]): Promise<void> {
    const { memory } = this.host;
    const sector = memory.allocate(this.#log.sectorBytes).fill(0);
    try {
      const view = viewOf(sector);
      words.forEach((word, index) => {
        view.setBigUint64(index * 8, word, true);
      });
      await this.#link.write(at, sector);
    } finally {
      memory.free(sector);
    }
  }

  /** Entries after the last flush are counted, too. */
  protected override async doClose(): Promise<void> {
    if (this.readOnly || this.#log.entries === 0) return;
    await this.#writing.run(() => this.#writeHeader());
  }
}

function nameOptions(options: BlockdevOptionsBlklogwrites, log: BlockNode): object {
  return { log: nameAsOptions(log), 'log-sector-size': options['log-sector-size'] };
}

/** Reads where the log ends. Rejects with `invalid-image`. */
async function endOf(log: BlockNode): Promise<Log> {
  const use = readingUse('blklogwrites', 'source');
  return withLink(log, use, async (link) => {
    const invalid = (what: string) => BlockError.at(log.filename, 'invalid-image', `The log's ${what}`);
    const head = new Uint8Array(HEADER_BYTES);
    if (log.length < head.length) throw invalid('header is missing');
    await link.read(0, head);
    const view = new DataView(head.buffer);
    if (view.getBigUint64(0, true) !== MAGIC) throw invalid('header has another magic number');
    if (view.getBigUint64(8, true) !== VERSION) throw invalid('version is not 1');
    const entries = Number(view.getBigUint64(16, true));
    const sectorBytes = view.getUint32(24, true);
    checkSectorSize(sectorBytes);
    const entry = new Uint8Array(32);
    const fields = new DataView(entry.buffer);
    let next = 1;
    for (let i = 0; i < entries; i++) {
      const at = next * sectorBytes;
      if (!Number.isSafeInteger(at) || at + entry.length > log.length) throw invalid(`entry ${i} is beyond its end`);
      await link.read(at, entry);
      const flags = fields.getBigUint64(16, true);
      next += 1 + ((flags & Flag.discard) === 0n ? Number(fields.getBigUint64(8, true)) : 0);
    }
    return { sectorBytes, next, entries };
  });
}

/** Throws `invalid-argument`. */
function checkSectorSize(bytes: number): void {
  if (bytes >= MIN_SECTOR_BYTES && bytes < MAX_SECTOR_BYTES && isPowerOfTwo(bytes)) return;
  throw new BlockError('invalid-argument', `Invalid log sector size ${bytes}`, { operation: 'open' });
}

export async function openBlklogwrites(request: OpenRequest<'blklogwrites'>): Promise<BlockNode> {
  const { options, openChild } = request;
  const { 'log-sector-size': given, 'log-append': append = false } = options;
  const sectorBytes = given ?? DEFAULT_SECTOR_BYTES;
  const file = await openChild('file', null, 'filtered');
  const log = await openChild('log', null, 'data');
  if (append && given !== undefined) {
    throw new BlockError('invalid-argument', 'log-append and log-sector-size are mutually exclusive');
  }
  checkSectorSize(sectorBytes);
  if (options['log-super-update-interval'] === 0) {
    throw new BlockError('invalid-argument', 'Invalid log superblock update interval 0');
  }
  const at = append ? await endOf(log) : { sectorBytes, next: 1, entries: 0 };
  return new BlklogwritesNode(request, file, log, at);
}
