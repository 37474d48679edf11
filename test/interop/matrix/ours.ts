// The library, and the verb `bitmap`, as one side of the matrix.

import { bitmapDigest } from '../../../src/block/bitmap-digest.js';
import { rootOf } from '../../../src/block/device.js';
import type { OpenOptions, Workspace } from '../../../src/index.js';
import { deviceOf, type Image } from '../../../src/library/image.js';
import { bitmapWords, type MatrixImage, run, SECRET_ID, type Side, type SnapshotLine } from './side.js';
import type { Step } from './steps.js';

export class Ours implements Side {
  readonly #workspace: Workspace;
  readonly #bundle: string;

  /** `workspace` knows the secret; `bundle` is the command line. */
  constructor(workspace: Workspace, bundle: string) {
    this.#workspace = workspace;
    this.#bundle = bundle;
  }

  async make({ path, dataPath, backing, shape }: MatrixImage): Promise<void> {
    const { version, compression, encryption } = shape;
    await this.#workspace.create(path, {
      driver: 'qcow2',
      size: shape.size,
      version: version === 2 ? 'v2' : 'v3',
      'cluster-size': shape.clusterBytes,
      ...(version === 3 && { 'refcount-bits': shape.refcountBits }),
      ...(shape.extendedL2 && { 'extended-l2': true }),
      ...(compression === 'zstd' && { 'compression-type': 'zstd' }),
      ...(encryption !== 'none' && { encrypt: { format: 'luks', 'key-secret': SECRET_ID, 'iter-time': 10 } }),
      ...(dataPath !== null && { 'data-file': { driver: 'file', filename: dataPath } }),
      ...(shape.dataFile === 'raw' && { 'data-file-raw': true }),
      ...(shape.lazyRefcounts && { 'lazy-refcounts': true }),
      ...(shape.preallocation !== 'off' && { preallocation: shape.preallocation }),
      ...(backing !== null && { 'backing-file': backing, 'backing-fmt': 'qcow2' }),
    });
  }

  async change(image: MatrixImage, steps: readonly Step[]): Promise<void> {
    await this.#with(image, {}, async (disk) => {
      for (const { kind, offset, length, value } of steps) {
        if (kind === 'zero' || kind === 'unmap') await disk.writeZeroes(offset, length, { mayUnmap: kind === 'unmap' });
        else await disk.write(offset, Buffer.alloc(length, value), { compressed: kind === 'compressed' });
      }
    });
  }

  content(image: MatrixImage, snapshot?: string): Promise<Buffer> {
    const how = { readOnly: true, ...(snapshot !== undefined && { snapshot: { name: snapshot } }) };
    return this.#with(image, how, (disk) => disk.read(0, disk.size));
  }

  async check(image: MatrixImage): Promise<{ faults: number; leaks: number }> {
    const { checkErrors, corruptions, leaks } = await this.#workspace.check(optionsOf(image));
    return { faults: checkErrors + corruptions, leaks };
  }

  async map(image: MatrixImage): Promise<object[]> {
    const entries: object[] = [];
    // Debian's qemu-img does not say yet what is compressed, nor in which file it lies.
    for await (const { compressed: _, filename: __, ...entry } of this.#workspace.map(optionsOf(image)))
      entries.push(entry);
    return entries;
  }

  async snapshots(image: MatrixImage): Promise<SnapshotLine[]> {
    const { snapshots = [] } = await this.#workspace.info(optionsOf(image));
    return snapshots.map(({ id, name }) => ({ id, name }));
  }

  async takeSnapshot(image: MatrixImage, name: string): Promise<void> {
    await this.#with(image, {}, (disk) => disk.createSnapshot(name));
  }

  async applySnapshot(image: MatrixImage, name: string): Promise<void> {
    await this.#with(image, {}, (disk) => disk.applySnapshot({ name }));
  }

  async deleteSnapshot(image: MatrixImage, name: string): Promise<void> {
    await this.#with(image, {}, (disk) => disk.deleteSnapshot({ name }));
  }

  async workBitmap(image: MatrixImage, name: string, actions: readonly string[]): Promise<void> {
    await run(process.execPath, [this.#bundle, ...bitmapWords(image, name, actions)]);
  }

  bitmapDigest(image: MatrixImage, name: string): Promise<string> {
    return this.#with(image, { readOnly: true }, async (disk) => {
      const bitmap = rootOf(deviceOf(disk)).node.bitmaps.get(name);
      if (bitmap === undefined) throw new Error(`there is no bitmap ${name}`);
      return bitmapDigest(bitmap);
    });
  }

  async #with<T>(image: MatrixImage, how: OpenOptions, action: (disk: Image) => Promise<T>): Promise<T> {
    const disk = await this.#workspace.open(optionsOf(image), how);
    try {
      return await action(disk);
    } finally {
      await disk.close();
    }
  }
}

function optionsOf({ path, shape }: MatrixImage) {
  const encrypt = shape.encryption === 'none' ? {} : { encrypt: { format: 'luks', 'key-secret': SECRET_ID } as const };
  return { driver: 'qcow2', file: { driver: 'file', filename: path }, ...encrypt } as const;
}
