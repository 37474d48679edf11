// A device as an export uses it: what can be located goes straight to the host file, with a sink for its answer; the rest takes the
// slow path.

import type { Device } from '../../src/block/device.js';
import type { Located } from '../../src/block/types.js';
import type { Host, RequestSink } from '../../src/host/host.js';
import type { GuestDisk } from './guest.js';

export class LocatedDisk implements GuestDisk, RequestSink {
  /** Requests that took the short way. */
  located = 0;
  private readonly device: Device;
  private readonly host: Host;
  private readonly place: Located = { file: null, offset: 0, guard: null };
  private readonly waiting = new Map<number, (result: number) => void>();
  private tags = 0;

  constructor(device: Device, host: Host) {
    this.device = device;
    this.host = host;
  }

  get length(): number {
    return this.device.length;
  }

  completed(tag: number, result: number): void {
    this.waiting.get(tag)!(result);
    this.waiting.delete(tag);
  }

  settled(): void {}

  async read(offset: number, buffer: Uint8Array): Promise<void> {
    const own = this.host.memory.allocate(buffer.length);
    try {
      await (this.begin(false, offset, own) ?? this.device.read(offset, own));
      buffer.set(own);
    } finally {
      this.host.memory.free(own);
    }
  }

  async write(offset: number, buffer: Uint8Array): Promise<void> {
    const own = this.host.memory.allocate(buffer.length);
    own.set(buffer);
    try {
      await (this.begin(true, offset, own) ?? this.device.write(offset, own));
    } finally {
      this.host.memory.free(own);
    }
  }

  writeZeroes(offset: number, length: number, flags?: { mayUnmap?: boolean }): Promise<void> {
    return this.device.writeZeroes(offset, length, flags);
  }

  discard(offset: number, length: number): Promise<void> {
    return this.device.discard(offset, length);
  }

  flush(): Promise<void> {
    return this.device.flush();
  }

  /** Null where only the slow path can do it. */
  private begin(write: boolean, offset: number, buffer: Uint8Array): Promise<void> | null {
    const { device, place } = this;
    const { length } = buffer;
    if (!(write ? device.beginWrite(offset, length, place) : device.beginRead(offset, length, place))) return null;
    const { file, guard } = place;
    if (file === null) {
      this.located++;
      buffer.fill(0);
      device.ended(write, offset, length, guard, false);
      return Promise.resolve();
    }
    const tag = this.tags++;
    const begun = write
      ? file.beginWrite(place.offset, buffer, 0, length, this, tag)
      : file.beginRead(place.offset, buffer, 0, length, this, tag);
    if (!begun) {
      device.givenUp(write, guard);
      return null;
    }
    this.located++;
    const hostOffset = place.offset;
    return new Promise((resolve, reject) => {
      this.waiting.set(tag, (result) => {
        device.ended(write, offset, length, guard, result < 0);
        if (result >= 0) resolve();
        else reject(file.errorOf(write ? 'write' : 'read', hostOffset, length, result));
      });
    });
  }
}
