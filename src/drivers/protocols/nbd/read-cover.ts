// Tracks which bytes of a read have been received: each must come once. Most servers send them in ascending order, for which one number is enough;
// for a server that does not, a short list of pieces is kept.

import type { RequestTable } from './requests.js';

/** Pieces of one read that may come out of order. */
const MAX_SCATTERED = 1024;

export class ReadCover {
  readonly #table: RequestTable;

  constructor(table: RequestTable) {
    this.#table = table;
  }

  /** Marks [offset, offset + length). False where it is outside of the request of `slot`, or was marked before. */
  add(slot: number, offset: number, length: number): boolean {
    const table = this.#table;
    const start = offset - table.offset[slot];
    const end = start + length;
    if (start < 0 || end > table.length[slot]) return false;
    const scattered = table.scattered[slot];
    if (scattered === null && start === table.received[slot]) {
      table.received[slot] = end;
      return true;
    }
    const pieces = scattered ?? [0, table.received[slot]];
    if (pieces.length >= 2 * MAX_SCATTERED) return false;
    for (let i = 0; i < pieces.length; i += 2) {
      if (start < pieces[i + 1] && end > pieces[i]) return false;
    }
    pieces.push(start, end);
    table.scattered[slot] = pieces;
    table.received[slot] += length;
    return true;
  }
}
