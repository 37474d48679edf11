// Judges the entries of L1 and L2 tables of a damaged image, each alone: is it one that a table can have, and does what it points to lie in the file?
// Nothing of the rest of the image counts here.

import type { SalvageReason } from '../../../block/salvage.js';
import { HIGH_WORD } from '../../../util/bytes.js';
import { hasReservedBits, hostIn, isCompressed, isCopied, isZero } from './l2-codec.js';
import { dataIn, zeroesIn } from './l2-extended.js';
import { hasReservedPointerBits } from './pointer-codec.js';
import type { Claims } from './salvage-claims.js';
import { EXTENDED_L2_ENTRY_BYTES, L2_ENTRY_BYTES, SECTOR } from './types.js';

/** What entries are judged by. */
export interface EntryRules {
  version: 2 | 3;
  clusterBits: number;
  /** L2 entries are extended: clusters have subclusters. */
  extendedL2: boolean;
  /** Bytes of the image's file, in which the tables and compressed clusters lie. */
  fileBytes: number;
  /** Bytes of the file with the content; null: there is one, and it is not open. */
  dataBytes: number | null;
  /** The content has a file of its own. */
  isExternal: boolean;
}

/** `empty`: there is nothing, and the backing file counts; `none`: nothing of it can be used. */
export type PartKind = 'empty' | 'zero' | 'data' | 'compressed' | 'none';
/** `mixed`: its subclusters differ, see `Verdict.part`. */
export type EntryKind = PartKind | 'mixed';

/** Bytes of an L2 entry. */
export function entryBytes({ extendedL2 }: Pick<EntryRules, 'extendedL2'>): number {
  return extendedL2 ? EXTENDED_L2_ENTRY_BYTES : L2_ENTRY_BYTES;
}

const ALL = 0xffff_ffff;

/** What is found of one entry. The object is used again for the next one. */
export class Verdict {
  kind: EntryKind = 'empty';
  host = 0;
  /** Bytes in the file: a cluster, or fewer where the file ends within it; of a compressed one, up to the end of its last sector. */
  bytes = 0;
  /** Of `none`, why. */
  reason: SalvageReason = 'bad-entry';
  /** It has bits that no entry has, and could be used all the same. */
  isOdd = false;
  /** Of `mixed`: which subclusters are data, and which read as zeroes; one that is both is neither. */
  data = 0;
  zeroes = 0;

  #is(kind: EntryKind, host = 0, bytes = 0): void {
    this.kind = kind;
    this.host = host;
    this.bytes = bytes;
  }

  #isNone(reason: SalvageReason, host: number): void {
    this.#is('none', host);
    this.reason = reason;
  }

  /** Judges entry `slot` of an L2 table. */
  judge(table: DataView, slot: number, rules: EntryRules): void {
    const at = slot * entryBytes(rules);
    const high = table.getUint32(at);
    const low = table.getUint32(at + 4);
    this.isOdd = false;
    if (isCompressed(high)) this.#judgeCompressed(high, low, rules);
    else if (rules.extendedL2) this.#judgeExtended(table, at, rules);
    else if (high === 0 && low === 0) this.#is('empty');
    else this.#judgeOrdinary(high, low, rules);
  }

  /** The kind of subcluster `n`. Of an ordinary entry, there is one. */
  part(n: number): PartKind {
    if (this.kind !== 'mixed') return this.kind;
    const bit = 1 << n;
    const isZero = (this.zeroes & bit) !== 0;
    if ((this.data & bit) === 0) return isZero ? 'zero' : 'empty';
    return isZero || this.bytes === 0 ? 'none' : 'data';
  }

  /** It says of a part that it is data and zeroes, or that it is data which lies nowhere. */
  get isWrong(): boolean {
    if (this.kind === 'mixed') return (this.data & this.zeroes) !== 0 || (this.data !== 0 && this.bytes === 0);
    return this.kind === 'none' && this.reason !== 'no-data-file';
  }

  #judgeExtended(table: DataView, at: number, rules: EntryRules): void {
    const high = table.getUint32(at);
    const low = table.getUint32(at + 4);
    const data = dataIn(table, at);
    const zeroes = zeroesIn(table, at);
    if (high === 0 && low === 0 && data === 0 && zeroes === 0) {
      this.#is('empty');
      return;
    }
    // The zero flag means nothing here.
    this.#judgeOrdinary(high, (low & ~1) >>> 0, rules);
    if (this.kind === 'none' && (this.reason !== 'no-data-file' || data !== 0)) return;
    if (this.kind === 'data' && data === ALL && zeroes === 0) return;
    const { host } = this;
    this.#is('mixed', host, this.kind === 'data' ? this.bytes : 0);
    this.data = data;
    this.zeroes = zeroes;
    if (zeroes === ALL && data === 0) this.#is('zero', host);
    else if (zeroes === 0 && data === 0 && host === 0) this.#is('empty');
  }

  #judgeOrdinary(high: number, low: number, rules: EntryRules): void {
    const { version, clusterBits, isExternal } = rules;
    const clusterSize = 2 ** clusterBits;
    const host = hostIn(high, low);
    const zero = isZero(low);
    const isNothing = host === 0 && !(isExternal && isCopied(high));
    this.isOdd = hasReservedBits(high, low) || (zero && version === 2);
    // The content may be in a file that is not there: then nothing can be said of an offset.
    const end = rules.dataBytes ?? Number.MAX_SAFE_INTEGER - clusterSize;
    if (host % clusterSize !== 0) this.#isNone('bad-entry', host);
    else if (host > 0 && host >= end) this.#isNone('beyond-end', host);
    else if (zero && version === 3) this.#is('zero', host);
    else if (isNothing) {
      this.isOdd ||= isCopied(high);
      this.#is('empty');
    } else if (rules.dataBytes === null) this.#isNone('no-data-file', host);
    else this.#is('data', host, Math.min(clusterSize, end - host));
  }

  #judgeCompressed(high: number, low: number, { clusterBits, fileBytes, isExternal }: EntryRules): void {
    const offsetBits = 38 - clusterBits;
    const host = (high & (2 ** offsetBits - 1)) * HIGH_WORD + low;
    const bytes = (((high & 0x3fff_ffff) >>> offsetBits) + 1) * SECTOR - (low % SECTOR);
    this.isOdd = isCopied(high);
    // The last sector may reach beyond the end of the file.
    const isBeyond = host >= fileBytes || host + bytes - fileBytes >= SECTOR;
    if (isExternal || host < 2 ** clusterBits) this.#isNone('bad-entry', host);
    else if (isBeyond) this.#isNone('beyond-end', host);
    else this.#is('compressed', host, Math.min(bytes, fileBytes - host));
  }
}

/** Entries of a part of a table, counted. */
export interface Shape {
  /** Entries that point to something within the file. */
  good: number;
  /** Entries that no table has. */
  bad: number;
  /** Those that are neither: nothing, or zeroes without a place. */
  empty: number;
}

/** Counts entries [from, to) of what may be an L2 table. */
export function shapeOf(table: DataView, from: number, to: number, rules: EntryRules, verdict: Verdict): Shape {
  const shape = { good: 0, bad: 0, empty: 0 };
  for (let slot = from; slot < to; slot++) {
    verdict.judge(table, slot, rules);
    if (verdict.isWrong || verdict.isOdd) shape.bad++;
    else if (verdict.kind === 'empty' || verdict.kind === 'zero') shape.empty++;
    else if (verdict.kind === 'mixed' && verdict.host === 0) shape.empty++;
    else shape.good++;
  }
  return shape;
}

/** What is found of an L1 entry: where its L2 table lies. */
export interface Pointer {
  /** 0: there is no table. */
  host: number;
  /** Why it cannot be used; null: it can. */
  reason: SalvageReason | null;
  isOdd: boolean;
}

export function judgePointer(high: number, low: number, clusterSize: number, fileBytes: number): Pointer {
  const host = hostIn(high, low);
  const isOdd = hasReservedPointerBits(high, low) || (host === 0 && high !== 0);
  if (host % clusterSize !== 0) return { host, reason: 'bad-table-entry', isOdd };
  if (host >= fileBytes && host !== 0) return { host, reason: 'table-beyond-end', isOdd };
  return { host, reason: null, isOdd };
}

/** It points to a cluster that is stored as it is. */
export function isPlain({ kind, data, bytes }: Verdict): boolean {
  return kind === 'data' || (kind === 'mixed' && data !== 0 && bytes > 0);
}

/** What an entry points to is metadata for certain. */
export function isInMetadata(verdict: Verdict, rules: EntryRules, claims: Claims): boolean {
  if (rules.isExternal) return false;
  const { host, bytes } = verdict;
  const clusterSize = 2 ** rules.clusterBits;
  const first = Math.floor(host / clusterSize);
  if (isPlain(verdict)) return claims.isMetadata(first);
  if (verdict.kind !== 'compressed') return false;
  for (let cluster = first; cluster * clusterSize < host + bytes; cluster++) {
    if (claims.isMetadata(cluster)) return true;
  }
  return false;
}
