// Carrying out requests that take waiting: everything that does not go straight to a file.

import { type Device, inspectDevice } from '../../block/device.js';
import { getBe32, getBe64 } from '../../util/bytes.js';
import { type BlockError, toBlockError } from '../../util/errors.js';
import { Serial } from '../../util/serial.js';
import { Command, CommandFlag, NbdError } from '../../wire/nbd/constants.js';
import type { Answers } from './answers.js';
import { type MetaContext, Runs } from './contexts.js';
import type { NbdExport } from './export.js';
import { inside } from './request-check.js';
import { DATA_START, type RequestTable } from './requests.js';
import { wireError } from './wire-error.js';

/** Runs in one answer to a block status request, all contexts together (but one for each at least). */
const MAX_RUNS = 16_384;
/** Bytes of a run in an answer, and of what stands before the runs of one context, at most. */
const RUN_BYTES = 16;
const CONTEXT_BYTES = 40;
/** A client that asks to cache a range has it read in such pieces. */
export const CACHE_PIECE_BYTES = 1 << 20;

/** Memory that the answer to a block status request may take. */
export function blockStatusBytes(contexts: number, flags: number): number {
  const runs = (flags & CommandFlag.reqOne) !== 0 ? contexts : Math.max(contexts, MAX_RUNS);
  return runs * RUN_BYTES + contexts * CONTEXT_BYTES;
}

const NOTHING = new Uint8Array(0);

export class Commands {
  readonly #table: RequestTable;
  readonly #export: NbdExport;
  readonly #device: Device;
  readonly #contexts: ReadonlyMap<number, MetaContext>;
  readonly #answers: Answers;
  /** Block status requests are looked up one after the other, so that one client cannot take all the time. */
  readonly #lookUps = new Serial();

  constructor(table: RequestTable, served: NbdExport, contexts: ReadonlyMap<number, MetaContext>, answers: Answers) {
    this.#table = table;
    this.#export = served;
    this.#device = served.device;
    this.#contexts = contexts;
    this.#answers = answers;
  }

  /** Carries out the request of `slot` (its payload, if any, is in its buffer) and answers it. Rejects with `limit` where there is no memory for the answer. */
  async run(slot: number): Promise<void> {
    try {
      await this.#perform(slot);
    } catch (error) {
      this.#answers.error(slot, ...this.#explain(slot, toBlockError(error)));
      return;
    }
    this.#finish(slot);
  }

  /** After success; reads and block status have data. */
  #finish(slot: number): void {
    const command = this.#table.command[slot];
    if (command === Command.blockStatus) return;
    if (command !== Command.read) this.#answers.ok(slot);
    else if ((this.#table.flags[slot] & CommandFlag.df) !== 0) this.#answers.read(slot);
    else this.#answers.sparseRead(slot);
  }

  #explain(slot: number, error: BlockError): [error: number, message: string] {
    const fast = (this.#table.flags[slot] & CommandFlag.fastZero) !== 0;
    if (fast && error.code === 'unsupported') return [NbdError.notSupported, error.message];
    return [wireError(error), error.message];
  }

  async #perform(slot: number): Promise<void> {
    const { command, flags, offset: offsets, length: lengths } = this.#table;
    const offset = offsets[slot];
    const length = lengths[slot];
    const fua = this.#export.durable(flags[slot]);
    switch (command[slot]) {
      case Command.read:
        return this.#device.read(offset, this.#dataOf(slot, length));
      case Command.write:
        return this.#device.write(offset, this.#dataOf(slot, length), { fua });
      case Command.flush:
        return this.#device.flush();
      case Command.trim:
        await this.#device.discard(offset, length);
        if (fua) await this.#device.flush();
        return;
      case Command.writeZeroes: {
        const mayUnmap = (flags[slot] & CommandFlag.noHole) === 0;
        const noFallback = (flags[slot] & CommandFlag.fastZero) !== 0;
        return this.#device.writeZeroes(offset, length, { fua, mayUnmap, noFallback });
      }
      case Command.cache:
        return this.#readAhead(slot, offset, length);
      case Command.blockStatus:
        return this.#lookUps.run(() => this.#blockStatus(slot, offset));
      default:
        return this.#resize(offset);
    }
  }

  #dataOf(slot: number, length: number): Uint8Array {
    const buffer = this.#table.buffer[slot];
    return buffer === null ? NOTHING : buffer.subarray(DATA_START, DATA_START + length);
  }

  async #readAhead(slot: number, offset: number, length: number): Promise<void> {
    for (let done = 0; done < length && !this.#answers.muted; done += CACHE_PIECE_BYTES) {
      await this.#device.read(offset + done, this.#dataOf(slot, Math.min(CACHE_PIECE_BYTES, length - done)));
    }
  }

  async #resize(size: number): Promise<void> {
    await this.#device.truncate(size);
    this.#export.size = size;
  }

  async #blockStatus(slot: number, offset: number): Promise<void> {
    // The client has left while earlier look-ups went on.
    if (this.#answers.muted) return this.#answers.error(slot, NbdError.shutdown, '');
    const flags = this.#table.flags[slot];
    let length = this.#table.length[slot];
    let ids = [...this.#contexts.keys()];
    if ((flags & CommandFlag.payloadLength) !== 0) {
      const payload = this.#dataOf(slot, length);
      length = getBe64(payload, 0);
      ids = [];
      for (let at = 8; at < payload.length; at += 4) ids.push(getBe32(payload, at));
      const known = ids.every((id) => this.#contexts.has(id)) && new Set(ids).size === ids.length;
      if (!known || ids.length === 0 || length === 0 || !inside(offset, length, this.#export.size)) {
        this.#answers.error(slot, NbdError.invalid, 'invalid range or contexts');
        return;
      }
    }
    const limit = (flags & CommandFlag.reqOne) !== 0 ? 1 : Math.max(1, Math.floor(MAX_RUNS / ids.length));
    const answers: Runs[] = [];
    await inspectDevice(this.#device, async ({ node }) => {
      for (const id of ids) {
        const runs = new Runs(limit);
        await (this.#contexts.get(id) as MetaContext).describe(node, offset, length, runs);
        answers.push(runs);
      }
    });
    this.#answers.blockStatus(slot, ids, answers);
  }
}
