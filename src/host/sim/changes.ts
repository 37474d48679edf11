// The changes that requests make in a file, and what power loss leaves of them.
//
// A change is volatile from the moment it takes effect until a flush that was issued after its answer has completed. Power loss
// decides for each volatile change, alone and by the seed: kept, dropped, or torn. A torn write keeps any subset of its 512-byte
// sectors; a torn punch or zero keeps a prefix of its pages; a change of size or a reservation is kept or dropped. Kept changes of
// one file are applied in the order in which they took effect: two writes of one sector leave the older or the newer, not a mix.

import type { Random } from './random.js';
import { PAGE, type SparseBytes } from './sparse.js';

export const SECTOR = 512;

export type Change =
  | { kind: 'write'; offset: number; data: Uint8Array }
  | { kind: 'resize'; size: number }
  | { kind: 'punch' | 'zero'; offset: number; length: number }
  | { kind: 'reserve'; offset: number; length: number; keepSize: boolean };

/** A change that is not durable yet. */
export interface Volatile {
  change: Change;
  /** Number of the answer (see `SimEngine.tick`); Infinity while the request is in flight. */
  answered: number;
  /** Flushes that will not cover it although they should (see `FaultPlan.escapesFlush`). */
  escapes: number;
}

export function applyChange(change: Change, bytes: SparseBytes): void {
  switch (change.kind) {
    case 'write':
      bytes.write(change.offset, change.data);
      break;
    case 'resize':
      bytes.resize(change.size);
      break;
    case 'punch':
      bytes.punch(change.offset, change.length);
      break;
    case 'zero':
      bytes.zero(change.offset, change.length);
      bytes.size = Math.max(bytes.size, change.offset + change.length);
      break;
    case 'reserve':
      bytes.reserve(change.offset, change.length);
      if (!change.keepSize) bytes.size = Math.max(bytes.size, change.offset + change.length);
      break;
  }
}

/** Cuts a write at sector boundaries and returns the pieces for which `keep` is true. */
export function sectorsOf(
  change: Change & { kind: 'write' },
  keep: (index: number, count: number) => boolean,
): Change[] {
  const { offset, data } = change;
  const first = Math.floor(offset / SECTOR);
  const count = Math.ceil((offset + data.length) / SECTOR) - first;
  const pieces: Change[] = [];
  let start = -1;
  const close = (end: number) => {
    if (start < 0) return;
    const from = Math.max(0, (first + start) * SECTOR - offset);
    const to = Math.min(data.length, (first + end) * SECTOR - offset);
    pieces.push({ kind: 'write', offset: offset + from, data: data.subarray(from, to) });
    start = -1;
  };
  for (let i = 0; i < count; i++) {
    if (!keep(i, count)) close(i);
    else if (start < 0) start = i;
  }
  close(count);
  return pieces;
}

/** The part of a change that a torn or failed request leaves, by the seed. */
export function tear(change: Change, random: Random): Change[] {
  if (change.kind === 'write') {
    const style = random.below(4);
    const threshold = random.fraction();
    const odd = random.fraction();
    return sectorsOf(change, (index, count) => {
      if (style === 0) return index / count < threshold;
      if (style === 1) return index / count >= threshold;
      if (style === 2) return index !== Math.floor(odd * count);
      return random.chance(threshold);
    });
  }
  if (change.kind === 'punch' || change.kind === 'zero') {
    const end = change.offset + change.length;
    const cut = Math.floor((change.offset + random.below(change.length + 1)) / PAGE) * PAGE;
    return cut > change.offset ? [{ ...change, length: Math.min(cut, end) - change.offset }] : [];
  }
  return random.chance(0.5) ? [change] : [];
}

/**
 * Probabilities with which one power loss keeps or tears a volatile change; otherwise it is dropped. There are several styles, since equal probabilities alone
 * hardly ever produce the extremes.
 */
export interface CrashStyle {
  keep: number;
  tear: number;
}

const CRASH_STYLES: readonly CrashStyle[] = [
  { keep: 1 / 3, tear: 1 / 3 },
  { keep: 0.9, tear: 0.05 },
  { keep: 0.1, tear: 0.05 },
  { keep: 0.5, tear: 0 },
  { keep: 0, tear: 0 },
  { keep: 1, tear: 0 },
];

export function crashStyle(random: Random): CrashStyle {
  return random.pick(CRASH_STYLES);
}

/** The part of one volatile change that is on the disk after power loss. */
export function survivorsOf(change: Change, style: CrashStyle, random: Random): Change[] {
  const luck = random.fraction();
  if (luck < style.keep) return [change];
  return luck < style.keep + style.tear ? tear(change, random) : [];
}
