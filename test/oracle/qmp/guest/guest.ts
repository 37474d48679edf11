// What a guest does with its disk, one request at a time, as both sides are able to: the guest of the reference is a machine whose IDE disk we drive
// by its ports (ide.ts), ours is a client of an NBD export of the device (nbd.ts).

import type { StorageDaemon } from '../../../support/qmp.js';

export type GuestRequest = 'read' | 'write' | 'flush' | 'trim';

/** Our guest's disk is this export. */
export const GUEST_EXPORT = 'guest';

export const SECTOR = 512;
/** Each request, but for a flush, is about these. */
export const FIRST_SECTOR = 8;
export const SECTORS = 8;

export interface Guest {
  /** Returns at once. */
  begin(request: GuestRequest): Promise<void>;
  /** Waits for the end of the request. */
  answer(): Promise<'done' | 'failed'>;
  end(): void;
}

/** How each side gets its guest. Both are made on a running daemon with the device `d0`. */
export interface Guests {
  /** The reference's program. */
  program: readonly string[];
  theirs(daemon: StorageDaemon): Promise<Guest>;
  ours(daemon: StorageDaemon, folder: string): Promise<Guest>;
}
