// Small file systems to fill: ext4 on a loop device, and tmpfs. Both need root and mounts; where those are not to be had, there is no place.

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export type PlaceKind = 'ext4' | 'tmpfs';

function tool(program: string, ...args: string[]): void {
  const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? stderr}`);
}

export class Place {
  readonly folder: string;
  readonly #home: string;
  /** Takes all the space that is left. */
  readonly #neighbour: string;

  private constructor(home: string) {
    this.#home = home;
    this.folder = join(home, 'mounted');
    this.#neighbour = join(this.folder, 'neighbour');
  }

  /** A new, empty file system of `bytes` bytes. Throws where it cannot be had. `blockSize` is ext4's. */
  static make(kind: PlaceKind, bytes: number, blockSize = 4096): Place {
    const place = new Place(mkdtempSync(join(tmpdir(), 'diskwright-full-')));
    mkdirSync(place.folder);
    try {
      if (kind === 'tmpfs') {
        tool('mount', '-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', place.folder);
        return place;
      }
      const device = join(place.#home, 'device');
      writeFileSync(device, '');
      truncateSync(device, bytes);
      tool('mkfs.ext4', '-q', '-F', '-m', '0', '-b', `${blockSize}`, device);
      tool('mount', '-o', 'loop', device, place.folder);
      return place;
    } catch (error) {
      rmSync(place.#home, { recursive: true, force: true });
      throw error;
    }
  }

  /** Can such file systems be mounted here? */
  static possible(): boolean {
    try {
      for (const kind of ['ext4', 'tmpfs'] as const) Place.make(kind, 4 << 20).remove();
      return true;
    } catch {
      return false;
    }
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** Somebody else takes what is left, or all but `leave` bytes. */
  fill(leave = 0): void {
    const count = leave > 0 ? this.free() - leave : Number.POSITIVE_INFINITY;
    if (count <= 0) return;
    // `dd` ends with an error where the disk is full: that is the aim.
    const limit = count === Number.POSITIVE_INFINITY ? [] : [`count=${Math.floor(count)}`, 'iflag=count_bytes'];
    spawnSync('dd', ['if=/dev/zero', `of=${this.#neighbour}`, 'bs=64k', 'oflag=append', 'conv=notrunc', ...limit]);
    if (limit.length === 0) {
      spawnSync('dd', ['if=/dev/zero', `of=${this.#neighbour}`, 'bs=512', 'oflag=append', 'conv=notrunc']);
    }
  }

  /** ... and gives it back. */
  relieve(): void {
    rmSync(this.#neighbour, { force: true });
    spawnSync('sync', ['-f', this.folder]);
  }

  free(): number {
    const { stdout } = spawnSync('stat', ['-f', '-c', '%a %S', this.folder], { encoding: 'utf8' });
    const [blocks, size] = stdout.trim().split(' ').map(Number);
    return blocks * size;
  }

  remove(): void {
    const { status } = spawnSync('umount', [this.folder]);
    if (status !== 0) spawnSync('umount', ['-l', this.folder]);
    rmSync(this.#home, { recursive: true, force: true });
  }
}
