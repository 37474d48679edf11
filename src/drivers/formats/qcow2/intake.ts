// Room in the image file for data that the host's copy step writes. Clusters are allocated ahead, in a run, and the step's pieces take theirs from it in
// the order in which they are written; so data of a copy lies together, although nobody knows before what of it is zero:
//
//   start            cursor (the host's)        end
//   |  used  | being written |      free        |      pending: what the moves under way may take at most
//            '----- at most pending -----'
//
// A move is let in where its bytes fit between what the others may take and the end; else the run is made longer. There is a run only while moves are
// under way: the last one frees what is left of it. Where a table was put behind the run meanwhile, the rest is a gap, whose space the file system holds. Tables
// of the moves after it may take it; what of it is free still is punched by the first commit that no move is under way at.

import type { Moved, MoveRun } from '../../../host/host.js';
import { BlockError } from '../../../util/errors.js';
import type { Run } from './allocation.js';
import type { Qcow2Image } from './image.js';
import { clusterAt, type HostOffset, hostOf, plus } from './types.js';

/** Bytes that are allocated ahead. */
const RUN_BYTES = 8 << 20;
/** How often a move looks for room before it is written in another way. */
const ATTEMPTS = 3;

export class OpenRun {
  readonly start: HostOffset;
  end: HostOffset;
  readonly cursor: MoveRun;
  /** From here on, the space was never used before. */
  freshFrom: HostOffset;
  /** Bytes that moves which have ended took. */
  used = 0;
  /** Bytes that those under way may take. */
  pending = 0;
  moves = 0;

  constructor(start: HostOffset, length: number, cursor: MoveRun, fresh: boolean) {
    this.start = start;
    this.end = plus(start, length);
    this.cursor = cursor;
    this.freshFrom = fresh ? start : this.end;
  }

  /** End of what may be written now. */
  get bound(): number {
    return this.start + this.used + this.pending;
  }

  /** Makes it longer by what was allocated at `start`, if that is where it ends. */
  continue(start: HostOffset, length: number, fresh: boolean): boolean {
    if (start !== this.end) return false;
    this.end = plus(start, length);
    if (!fresh) this.freshFrom = this.end;
    return true;
  }

  /** Lets a move of so many bytes in, if they fit. */
  enter(bytes: number): boolean {
    if (this.bound + bytes > this.end) return false;
    this.pending += bytes;
    this.moves++;
    return true;
  }
}

export class Intake {
  readonly #image: Qcow2Image;
  #run: OpenRun | null = null;
  #extending: Promise<unknown> | null = null;
  /** Gaps, which may be allocated again by now. */
  #rests: Run[] = [];

  constructor(image: Qcow2Image) {
    this.#image = image;
  }

  /** A run with room for `bytes`; null where there is none in one piece. To be ended by `leave`. Rejects as `allocateRun`. */
  async enter(bytes: number): Promise<OpenRun | null> {
    let run: OpenRun | null = null;
    try {
      run = await this.#findRoom(bytes);
    } finally {
      // Nobody else would end it: what was allocated for this move is free again, whether the move finds no room or space ran out.
      if (run === null && this.#run?.moves === 0 && this.#extending === null) this.#end(this.#run);
    }
    return run;
  }

  async #findRoom(bytes: number): Promise<OpenRun | null> {
    for (let attempt = 0; attempt < ATTEMPTS; ) {
      if (this.#run?.enter(bytes)) return this.#run;
      if (this.#extending !== null) {
        // Whoever extends it gets the failure.
        await Promise.allSettled([this.#extending]);
        continue;
      }
      attempt++;
      const extending = this.#extend(bytes).finally(() => {
        this.#extending = null;
      });
      this.#extending = extending;
      const run = await extending;
      if (run !== null) return run;
    }
    return null;
  }

  /** A move has ended that was let in with `bytes`. What it took is in use now, unless it failed, or was not made. */
  leave(run: OpenRun, bytes: number, moved: Moved | null): void {
    run.pending -= bytes;
    run.moves--;
    for (const { start, taken } of moved?.slices ?? []) {
      run.used += taken;
      if (moved?.fault) this.#release(start, start + taken);
    }
    if (run.moves === 0) this.#end(run);
  }

  /** The gaps that runs left, where no move is under way; they are forgotten. */
  takeRests(): readonly Run[] {
    if (this.#run !== null || this.#extending !== null) return [];
    return this.#rests.splice(0);
  }

  #end(run: OpenRun): void {
    const { file } = this.#image;
    if (this.#run === run) this.#run = null;
    const from = plus(run.start, run.used);
    this.#release(from, run.end);
    const fresh = Math.max(from, run.freshFrom);
    file.giveBack(fresh, run.end, true);
    if (fresh > from) file.giveBack(from, fresh, false);
    run.cursor.free();
  }

  #release(from: number, to: number): void {
    if (to <= from) return;
    const { allocation, file, geometry } = this.#image;
    const cluster = clusterAt(from as HostOffset, geometry);
    const count = (to - from) / geometry.clusterSize;
    allocation.release(cluster, count);
    // At the end of the file, the next run begins there, or the file is cut.
    if (to < file.usedEnd) this.#rests.push({ cluster, count });
  }

  /** Allocates room for a move of `bytes`, and lets it in; null where the room is too short. */
  async #extend(bytes: number): Promise<OpenRun | null> {
    try {
      return await this.#allocate(Math.max(bytes, RUN_BYTES), bytes);
    } catch (error) {
      // A disk may have room for what is moved, and for no more.
      if (bytes >= RUN_BYTES || !(error instanceof BlockError) || error.code !== 'no-space') throw error;
      return await this.#allocate(bytes, bytes);
    }
  }

  async #allocate(length: number, bytes: number): Promise<OpenRun | null> {
    const { allocation, data, geometry, host } = this.#image;
    const found = await allocation.allocateRun(Math.ceil(length / geometry.clusterSize));
    const start = hostOf(found.cluster, geometry);
    const foundBytes = found.count * geometry.clusterSize;
    let before: OpenRun | null;
    let run: OpenRun;
    try {
      const fresh = await data.makeRoom(start, foundBytes);
      before = this.#run;
      if (before?.continue(start, foundBytes, fresh)) run = before;
      else run = new OpenRun(start, foundBytes, host.openRun(start), fresh);
    } catch (error) {
      allocation.release(found.cluster, found.count);
      throw error;
    }
    this.#run = run;
    // Where moves are under way in it, the last one ends it.
    if (before !== null && before !== run && before.moves === 0) this.#end(before);
    // Nobody else takes the room before the one that it is made for.
    return run.enter(bytes) ? run : null;
  }
}
