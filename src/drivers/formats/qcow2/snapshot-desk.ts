// What the node offers of internal snapshots (`Abilities.snapshots`): looks them up, and runs each change while no request of the image is under way.

import type { InternalSnapshots, SnapshotFields } from '../../../block/internal-snapshots.js';
import { nextSnapshotId } from '../../../block/internal-snapshots.js';
import type { SnapshotInfo } from '../../../schema/generated/types.js';
import { BlockError } from '../../../util/errors.js';
import type { Qcow2Image } from './image.js';
import { MAX_SNAPSHOTS, type Snapshot, splitClock } from './snapshot-table.js';
import { applySnapshot, checkSupported, createSnapshot, deleteSnapshot, showSnapshot } from './snapshots.js';
import type { GuestOffset } from './types.js';
import { readVmState, vmStateStart, writeVmState } from './vm-state.js';

/** The node of the image. */
interface Owner {
  /** The image in memory: an amend puts another one in its place. */
  image(): Qcow2Image;
  /** Runs `action` while no request is under way. Rejects with `read-only`. */
  alone<T>(action: () => Promise<T>): Promise<T>;
  /** Runs `action`, which changes the whole disk: what is stored of its bitmaps is not right from before it on. */
  changingAll(action: () => Promise<void>): Promise<void>;
  /** The disk has other content, and this size in bytes. */
  resized(size: number): void;
  /** Throws `busy`, `bad-state`, `limit` where a bitmap cannot follow a change of the disk's size. */
  checkResizable(size: number): void;
  /** A snapshot of this size in bytes stands in place of the disk. */
  shows(size: number): void;
}

export class SnapshotDesk implements InternalSnapshots {
  readonly #owner: Owner;
  /** Shown in place of the disk. */
  #shown: Snapshot | null = null;

  constructor(owner: Owner) {
    this.#owner = owner;
  }

  get #image(): Qcow2Image {
    return this.#owner.image();
  }

  list(): SnapshotInfo[] {
    return this.#image.snapshots.list.map(infoOf);
  }

  create({ name, date, vmClock = 0n, vmStateSize = 0, icount }: SnapshotFields): Promise<SnapshotInfo> {
    return this.#owner.alone(async () => {
      const { list } = this.#image.snapshots;
      const { seconds, nanoseconds } = date ?? this.#image.host.clock.wall();
      if (list.length >= MAX_SNAPSHOTS) throw this.#error('limit', 'Too many internal snapshots');
      const snapshot = await createSnapshot(this.#image, {
        id: nextSnapshotId(list.map(({ id }) => id)),
        name,
        dateSec: seconds,
        dateNsec: nanoseconds,
        vmClock,
        vmStateSize,
        icount: icount ?? null,
      });
      return infoOf(snapshot);
    });
  }

  apply(id: string, resizing?: () => () => void): Promise<void> {
    return this.#owner.alone(async () => {
      const snapshot = this.#find(id);
      const resizes = snapshot.diskSize !== this.#image.header.size;
      if (resizes) this.#owner.checkResizable(snapshot.diskSize);
      const release = resizes ? resizing?.() : undefined;
      try {
        await this.#owner.changingAll(async () => {
          await applySnapshot(this.#image, snapshot);
          this.#owner.resized(snapshot.diskSize);
        });
      } finally {
        release?.();
      }
    });
  }

  remove(id: string): Promise<void> {
    return this.#owner.alone(() => deleteSnapshot(this.#image, this.#find(id)));
  }

  async show(id: string): Promise<void> {
    const snapshot = this.#find(id);
    this.#owner.shows(await showSnapshot(this.#image, snapshot));
    this.#shown = snapshot;
  }

  vmStateOffset(): number {
    const image = this.#image;
    return vmStateStart(image.geometry, image.length() as GuestOffset);
  }

  readVmState(offset: number, buffer: Uint8Array): Promise<void> {
    return readVmState(this.#image, offset, buffer);
  }

  writeVmState(offset: number, buffer: Uint8Array): Promise<void> {
    return this.#owner.alone(async () => {
      checkSupported(this.#image);
      await writeVmState(this.#image, offset, buffer);
    });
  }

  /** Throws `unsupported` where a snapshot is shown: its tables are not the disk's. */
  checkWritable(): void {
    if (this.#shown !== null) throw this.#error('unsupported', 'An internal snapshot cannot be opened for writing');
  }

  /** IDs are unique, but in a damaged table: there the first one counts. */
  #find(id: string): Snapshot {
    const found = this.#image.snapshots.list.find((one) => one.id === id);
    if (found !== undefined) return found;
    throw this.#error('not-found', `There is no internal snapshot with the ID '${id}'`);
  }

  #error(code: 'limit' | 'not-found' | 'unsupported', message: string): BlockError {
    return BlockError.at(this.#image.file.path, code, message, { operation: 'snapshot' });
  }
}

function infoOf(snapshot: Snapshot): SnapshotInfo {
  const { id, name, vmStateSize, dateSec, dateNsec, vmClock, icount } = snapshot;
  const { seconds, nanoseconds } = splitClock(vmClock);
  return {
    id,
    name,
    'vm-state-size': vmStateSize,
    'date-sec': dateSec,
    'date-nsec': dateNsec,
    'vm-clock-sec': seconds,
    'vm-clock-nsec': nanoseconds,
    ...(icount !== null && { icount }),
  };
}
