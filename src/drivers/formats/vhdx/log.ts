// The log of an image that was not closed properly: which of its entries are to be replayed, and what the file reads as when they are.
//
//   log    | 7 | 8 | old | ... | 5 | 6 |      a ring; entries that follow one another, by place and number, are a sequence
//            ^head                ^tail       the sequence with the highest number counts, from the tail that its last entry names
//
// A node that is only read looks through these entries at its file (`Replayed`); one that is written puts them there first.

import { BlockError } from '../../../util/errors.js';
import { hasMagic } from '../../../util/magic.js';
import { NO_GUID } from './guid.js';
import { type Header, MIB, type ReadBytes } from './header.js';
import {
  LOG_SECTOR_BYTES,
  type LogEntry,
  type LogPlace,
  type LogWrite,
  type ReadSector,
  readEntry,
  readWrites,
  restore,
} from './log-entry.js';

/** Writes of all entries that are to be replayed: each is kept in memory. A larger log may have as many as it has sectors. */
const MAX_WRITES = 1 << 16;

/** A range that is zeroes, [start, end). */
type Zero = readonly [start: number, end: number];

/** What the entries that are to be replayed make of the file. */
export class Replayed {
  /** The file has so many bytes at least. */
  readonly lastBytes: number;
  readonly #logOffset: number;
  /** By their offset in the file; they count where zeroes are said to be, too. */
  readonly #data = new Map<number, LogWrite & { kind: 'data' }>();
  /** In order, and apart from one another. */
  readonly #zeros: readonly Zero[];

  /** `writes`: of all entries, the oldest first. */
  constructor(logOffset: number, lastBytes: number, writes: readonly LogWrite[]) {
    this.#logOffset = logOffset;
    this.lastBytes = lastBytes;
    const zeros: TimedZero[] = [];
    const times = new Map<number, number>();
    for (const [time, write] of writes.entries()) {
      if (write.kind === 'zero') zeros.push({ start: write.offset, end: write.offset + write.length, time });
      else {
        this.#data.set(write.offset, write);
        times.set(write.offset, time);
      }
    }
    for (const offset of zeroedSince(times, zeros)) this.#data.delete(offset);
    this.#zeros = joined(zeros.map(({ start, end }) => [start, end]));
  }

  /** Puts what the log says of [offset, offset + length of `buffer`) over what was read there. `read`: the file itself. Rejects as that. */
  async over(read: ReadBytes, offset: number, buffer: Uint8Array): Promise<void> {
    const end = offset + buffer.length;
    for (let i = this.#firstBehind(offset); i < this.#zeros.length && this.#zeros[i][0] < end; i++) {
      const [from, to] = this.#zeros[i];
      buffer.fill(0, Math.max(0, from - offset), Math.min(end, to) - offset);
    }
    if (this.#data.size === 0) return;
    for (let at = offset - (offset % LOG_SECTOR_BYTES); at < end; at += LOG_SECTOR_BYTES) {
      const write = this.#data.get(at);
      if (write === undefined) continue;
      const sector = await this.#contentOf(read, write);
      const from = Math.max(at, offset);
      buffer.set(sector.subarray(from - at, Math.min(LOG_SECTOR_BYTES, end - at)), from - offset);
    }
  }

  /** Index of the first range of zeroes that ends behind `offset`. */
  #firstBehind(offset: number): number {
    return firstIndex(this.#zeros.length, (index) => this.#zeros[index][1] > offset);
  }

  async #contentOf(read: ReadBytes, write: LogWrite & { kind: 'data' }): Promise<Uint8Array> {
    const sector = new Uint8Array(LOG_SECTOR_BYTES);
    await read(this.#logOffset + write.at, sector);
    restore(sector, write);
    return sector;
  }

  /** All of it, zeroes first. Rejects as `read` and as these. */
  async replay(
    read: ReadBytes,
    zero: (offset: number, length: number) => Promise<void>,
    write: (offset: number, bytes: Uint8Array) => Promise<void>,
  ): Promise<void> {
    for (const [start, end] of this.#zeros) await zero(start, end - start);
    for (const one of this.#data.values()) await write(one.offset, await this.#contentOf(read, one));
  }
}

/** A range, and when it became zeroes: a number that grows. */
interface TimedZero {
  start: number;
  end: number;
  time: number;
}

/**
 * Offsets of the sectors that became zeroes after they were last written, as `times` says. Each sector is looked at once, for the last range over it: what has been looked at is skipped by
 * `next`, the index of the first sector from there on that has not.
 */
function* zeroedSince(times: ReadonlyMap<number, number>, zeros: readonly TimedZero[]): Generator<number> {
  if (zeros.length === 0) return;
  const offsets = Float64Array.from(times.keys()).sort();
  const next = Uint32Array.from({ length: offsets.length + 1 }, (_, index) => index);
  const nextFrom = (index: number): number => {
    let found = index;
    while (next[found] !== found) {
      next[found] = next[next[found]];
      found = next[found];
    }
    return found;
  };
  for (const { start, end, time } of zeros.toReversed()) {
    const first = firstIndex(offsets.length, (index) => offsets[index] >= start);
    for (let i = nextFrom(first); i < offsets.length && offsets[i] < end; i = nextFrom(i)) {
      if (times.get(offsets[i])! < time) yield offsets[i];
      next[i] = i + 1;
    }
  }
}

/** The first index below `length` that is one of those which `holds` is true for, all of them at the end; `length` where there is none. */
function firstIndex(length: number, holds: (index: number) => boolean): number {
  let [low, high] = [0, length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

function joined(zeros: Zero[]): Zero[] {
  zeros.sort(([a], [b]) => a - b);
  const apart: [number, number][] = [];
  for (const [start, end] of zeros) {
    const last = apart.at(-1);
    if (last !== undefined && start <= last[1]) last[1] = Math.max(last[1], end);
    else if (end > start) apart.push([start, end]);
  }
  return apart;
}

/**
 * What is to be replayed; null where that is nothing. `fileBytes`: length of the file. Rejects with `corrupt-image` where the file was cut since, with
 * `invalid-image` for a log that does not lie in it, with `limit` where there is more than is kept in memory, and as `read`.
 */
export async function findLog(
  read: ReadBytes,
  header: Header,
  fileBytes: number,
  path: string,
): Promise<Replayed | null> {
  const { logGuid: guid, logOffset, logBytes } = header;
  // As for QEMU, a log of no length has no entries.
  const bytes = logBytes - (logBytes % LOG_SECTOR_BYTES);
  if (guid === NO_GUID || bytes === 0) return null;
  if (logOffset + bytes > fileBytes) {
    throw BlockError.at(path, 'invalid-image', 'The log does not lie within the file', { operation: 'open' });
  }
  const place: LogPlace = { guid, bytes };
  const readSector = sectorReader(read, logOffset, bytes);
  const entries = await findSequence(readSector, place);
  if (entries === null) return null;
  const { flushedBytes } = entries.at(-1)!;
  if (flushedBytes > fileBytes) {
    const reason = `The file has ${fileBytes} bytes, and had ${flushedBytes} when the log was written: it was cut`;
    throw BlockError.at(path, 'corrupt-image', reason, { operation: 'open' });
  }
  const total = entries.reduce((sum, { count }) => sum + count, 0);
  const most = Math.max(MAX_WRITES, bytes / LOG_SECTOR_BYTES);
  if (total > most) {
    throw BlockError.at(path, 'limit', `The log has ${total} writes, and ${most} at most`, { operation: 'open' });
  }
  const writes: LogWrite[] = [];
  for (const entry of entries) {
    const more = await readWrites(readSector, place, entry);
    if (more === null) {
      throw BlockError.at(path, 'corrupt-image', 'The log was changed while it was read', { operation: 'open' });
    }
    for (const write of more) writes.push(write);
  }
  const lastBytes = entries.reduce((most, entry) => Math.max(most, entry.lastBytes), 0);
  return new Replayed(logOffset, lastBytes, writes);
}

/** Reads in steps, as sectors are mostly read one after the other. */
function sectorReader(read: ReadBytes, logOffset: number, logBytes: number): ReadSector {
  const step = new Uint8Array(Math.min(MIB, logBytes));
  let start = -1;
  return async (at, sector) => {
    const begin = at - (at % step.length);
    if (begin !== start) {
      const length = Math.min(step.length, logBytes - begin);
      start = -1;
      await read(logOffset + begin, step.subarray(0, length));
      start = begin;
    }
    sector.set(step.subarray(at - begin, at - begin + LOG_SECTOR_BYTES));
  };
}

/** The entries of the sequence that counts, the oldest first; null where there is none. */
async function findSequence(read: ReadSector, log: LogPlace): Promise<LogEntry[] | null> {
  let best: LogEntry[] | null = null;
  const sector = new Uint8Array(LOG_SECTOR_BYTES);
  for (let at = 0; at < log.bytes; ) {
    await read(at, sector);
    const sequence = hasMagic(sector, 'loge') ? await sequenceFrom(read, log, at) : [];
    const head = sequence.at(-1);
    const start = head === undefined ? -1 : sequence.findIndex(({ at: begin }) => begin === head.tail);
    if (start >= 0 && (best === null || head!.sequence > best.at(-1)!.sequence)) best = sequence.slice(start);
    // What follows an entry of a sequence is in that sequence, up to where the ring begins anew.
    const last = sequence.findLast(({ at: begin }) => begin >= at);
    at = last === undefined ? at + LOG_SECTOR_BYTES : last.at + last.length;
  }
  return best;
}

/** Entries that follow one another from `at` on, each numbered one higher than the one before. */
async function sequenceFrom(read: ReadSector, log: LogPlace, at: number): Promise<LogEntry[]> {
  const entries: LogEntry[] = [];
  let taken = 0;
  for (let next = at; taken < log.bytes; ) {
    const entry = await readEntry(read, log, next);
    const before = entries.at(-1);
    if (entry === null || (before !== undefined && entry.sequence !== before.sequence + 1n)) break;
    taken += entry.length;
    if (taken > log.bytes) break;
    entries.push(entry);
    next = (next + entry.length) % log.bytes;
  }
  return entries;
}
