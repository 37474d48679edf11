// The pages of a format's tables: their space, beside commits that write them.

import { expect } from 'chai';
import { describe, it } from 'mocha';
import { Commits } from '../../../src/drivers/formats/blocks/commits.js';
import { LinearTable } from '../../../src/drivers/formats/blocks/linear-table.js';
import type { ImageFile } from '../../../src/drivers/image-file.js';

/** A file on a disk that cannot allocate: what is reserved is read, and written back when `go` is called. */
function slowFile(length: number) {
  const bytes = new Uint8Array(length);
  const waiting: (() => void)[] = [];
  let reservations = 0;
  const file = {
    length,
    path: '/image',
    read: async (offset: number, buffer: Uint8Array) => buffer.set(bytes.subarray(offset, offset + buffer.length)),
    write: async (offset: number, buffer: Uint8Array) => bytes.set(buffer, offset),
    flush: async () => undefined,
    ensureLength: async () => undefined,
    reserve: async (offset: number, size: number) => {
      reservations++;
      const content = bytes.slice(offset, offset + size);
      await new Promise<void>((resolve) => waiting.push(resolve));
      bytes.set(content, offset);
    },
  } as unknown as ImageFile;
  return {
    bytes,
    file,
    go: () => {
      for (const resolve of waiting.splice(0)) resolve();
    },
    get reservations() {
      return reservations;
    },
  };
}

/** Lets all go on that waits for nothing but promises. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('pages of tables', () => {
  it('are reserved once: what a commit has written beside a second request stays', async () => {
    const disk = slowFile(512);
    const table = new LinearTable(disk.file, { offset: 0, entries: 128, littleEndian: false });
    const commits = new Commits({ file: disk.file, levels: [table.pages] });
    const first = table.prepare(0, 0);
    await turn();
    const second = table.prepare(1, 1);
    await turn();
    disk.go();
    const release = await first;
    table.set(0, 7);
    release();
    await commits.commit();
    const third = table.prepare(2, 2);
    await turn();
    disk.go();
    for (const done of await Promise.all([second, third])) done();
    expect(disk.reservations).to.equal(1);
    expect(Buffer.from(disk.bytes).readUInt32BE(0)).to.equal(7);
  });

  it('are reserved again where that failed', async () => {
    const disk = slowFile(512);
    let fails = true;
    const { reserve } = disk.file;
    disk.file.reserve = async (offset, length) => {
      if (!fails) return reserve(offset, length);
      throw new Error('no space');
    };
    const table = new LinearTable(disk.file, { offset: 0, entries: 128, littleEndian: false });
    expect(await table.prepare(0, 0).catch((error: Error) => error.message)).to.equal('no space');
    fails = false;
    const again = table.prepare(0, 0);
    await turn();
    disk.go();
    (await again)();
    expect(disk.reservations).to.equal(1);
  });
});
