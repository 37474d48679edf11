// 64-bit entries that point to a metadata cluster: those of an L1 table and of a refcount table.
//
//   bit  63       62 .... 56   55 .......... 9    8 .... 0
//        copied | reserved   | host offset      | reserved         an L1 entry
//        host offset ........................... | reserved        a refcount table entry
//
// A host offset is decoded as a number, which is rounded beyond 2^53; no valid offset is that large. `pointerHex` and `blockPointerHex` return it
// exactly, for messages.

import type { Hex } from '../../../block/finding.js';
import { HIGH_WORD } from '../../../util/bytes.js';
import type { HostOffset } from './types.js';

export const POINTER_BYTES = 8;

const COPIED = 0x8000_0000;
const OFFSET_HIGH = 0x00ff_ffff;
const OFFSET_LOW = 0xffff_fe00;
const POINTER_RESERVED_HIGH = 0x7f00_0000;
const POINTER_RESERVED_LOW = 0x0000_01ff;

/** True where an L1 entry, as high and low half, has bits set that must be zero. */
export function hasReservedPointerBits(high: number, low: number): boolean {
  return (high & POINTER_RESERVED_HIGH) !== 0 || (low & POINTER_RESERVED_LOW) !== 0;
}

/** Host offset in entry `index` of an L1 table; 0 for none. Not checked: it may be misaligned. */
export function pointerTarget(view: DataView, index: number): HostOffset {
  const at = index * POINTER_BYTES;
  return ((view.getUint32(at) & OFFSET_HIGH) * HIGH_WORD + lowBits(view.getUint32(at + 4))) as HostOffset;
}

/** Host offset in entry `index` of a refcount table, which has no flags; 0 for none. */
export function blockPointerTarget(view: DataView, index: number): HostOffset {
  const at = index * POINTER_BYTES;
  return (view.getUint32(at) * HIGH_WORD + lowBits(view.getUint32(at + 4))) as HostOffset;
}

/** True where entry `index` of a refcount table points to the begin of a cluster; of an offset that is too large for a number as well. */
export function isBlockPointerAligned(view: DataView, index: number, clusterBytes: number): boolean {
  return lowBits(view.getUint32(index * POINTER_BYTES + 4)) % clusterBytes === 0;
}

/** True where a read of what entry `index` of a refcount table points to fails: its offset is not aligned, or is none that a file can have. */
export function isBlockPointerUnreadable(view: DataView, index: number, clusterBytes: number): boolean {
  return view.getUint32(index * POINTER_BYTES) >= 0x8000_0000 || !isBlockPointerAligned(view, index, clusterBytes);
}

/** `0x`, and the digits of `pointerTarget`. */
export function pointerHex(view: DataView, index: number): Hex {
  const at = index * POINTER_BYTES;
  return `0x${wordsToHex(view.getUint32(at) & OFFSET_HIGH, lowBits(view.getUint32(at + 4)))}`;
}

/** `0x`, and the digits of `blockPointerTarget`. */
export function blockPointerHex(view: DataView, index: number): Hex {
  const at = index * POINTER_BYTES;
  return `0x${wordsToHex(view.getUint32(at), lowBits(view.getUint32(at + 4)))}`;
}

/** The copied flag of an L1 entry: the refcount of its L2 table is exactly one. */
export function pointerCopied(view: DataView, index: number): boolean {
  return (view.getUint32(index * POINTER_BYTES) & COPIED) !== 0;
}

export function putPointer(view: DataView, index: number, target: HostOffset, copied: boolean): void {
  const at = index * POINTER_BYTES;
  view.setUint32(at, (Math.floor(target / HIGH_WORD) | (copied ? COPIED : 0)) >>> 0);
  view.setUint32(at + 4, target % HIGH_WORD);
}

/** 64 bits as hexadecimal digits, without leading zeroes. */
export function wordsToHex(high: number, low: number): string {
  const lowText = low.toString(16);
  return high === 0 ? lowText : high.toString(16) + lowText.padStart(8, '0');
}

function lowBits(word: number): number {
  return (word & OFFSET_LOW) >>> 0;
}
