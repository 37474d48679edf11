// A disk whose device goes and comes again at any moment, drained sections or not, and stands for the same image each time: what a
// guest sees that is moved from one device to another.

import { closeDevice, Device } from '../../src/block/device.js';
import type { BlockNode } from '../../src/block/node/node.js';
import type { Random, SimHost } from '../../src/host/sim/index.js';
import { BlockError } from '../../src/util/errors.js';
import type { GuestDisk } from './guest.js';
import { LocatedDisk } from './located-disk.js';
import { sleep } from './torment.js';

export class ComingDisk implements GuestDisk {
  private readonly host: SimHost;
  private readonly root: () => BlockNode;
  private readonly random: Random;
  private device: Device;
  private disk: GuestDisk;
  private away: Promise<void> | null = null;
  /** Requests that met a device that was going. */
  turnedAway = 0;

  /** `root` is the node that stands for the image now. */
  constructor(host: SimHost, root: () => BlockNode, random: Random) {
    this.host = host;
    this.root = root;
    this.random = random;
    this.device = this.plug();
    this.disk = this.device;
  }

  get length(): number {
    return this.root().length;
  }

  read(offset: number, buffer: Uint8Array): Promise<void> {
    return this.request((disk) => disk.read(offset, buffer));
  }
  write(offset: number, buffer: Uint8Array): Promise<void> {
    return this.request((disk) => disk.write(offset, buffer));
  }
  writeZeroes(offset: number, length: number, flags?: { mayUnmap?: boolean }): Promise<void> {
    return this.request((disk) => disk.writeZeroes(offset, length, flags));
  }
  discard(offset: number, length: number): Promise<void> {
    return this.request((disk) => disk.discard(offset, length));
  }
  flush(): Promise<void> {
    return this.request((disk) => disk.flush());
  }

  /** Goes, and comes again after a while. */
  async swap(): Promise<void> {
    let back: () => void = () => {};
    this.away = new Promise((resolve) => {
      back = resolve;
    });
    await (this.random.chance(0.5) ? this.device.close() : closeDevice(this.device));
    await sleep(this.host, this.random.fraction() * this.random.pick([0, 5]));
    this.device = this.plug();
    this.disk = this.random.chance(0.5) ? this.device : new LocatedDisk(this.device, this.host);
    this.away = null;
    back();
  }

  close(): Promise<void> {
    return this.device.close();
  }

  private plug(): Device {
    return new Device(this.root(), { name: 'guest', writable: true });
  }

  private async request(send: (disk: GuestDisk) => Promise<void>): Promise<void> {
    for (;;) {
      while (this.away !== null) await this.away;
      try {
        return await send(this.disk);
      } catch (error) {
        // It was not sent: whoever waits when the device goes is turned away.
        if (!(error instanceof BlockError) || error.code !== 'closed' || this.away === null) throw error;
        this.turnedAway++;
      }
    }
  }
}
