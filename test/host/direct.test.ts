// O_DIRECT: alignment is found out, what does not fit it is bounced, and what is changed in part loses nothing.
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { BlockError } from '../../src/util/errors.js';
import { leaveOut } from '../support/needs.js';
import { type Bench, failure, overEngines, pattern } from './engines.js';

const MIB = 1024 * 1024;

async function openDirect(bench: Bench, name: string) {
  try {
    return await bench.open(name, { direct: true });
  } catch (error) {
    if (error instanceof BlockError && error.code === 'unsupported') return null;
    throw error;
  }
}

overEngines('direct files', (bench) => {
  before(async function () {
    const file = await openDirect(bench, 'probe');
    if (file !== null) return file.close();
    leaveOut(this, 'O_DIRECT');
  });

  it('the alignment is a power of two that the kernel takes', async () => {
    const file = (await openDirect(bench, 'alignment'))!;
    expect(file.direct).to.equal(true);
    expect(file.alignment).to.be.oneOf([1, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]);
    const buffer = bench.host.memory.allocate(file.alignment).fill(1);
    await file.write(file.alignment, buffer);
    await file.read(file.alignment, buffer);
    expect(buffer.every((byte) => byte === 1)).to.equal(true);
    await file.close();
  });

  it('aligned, unaligned and foreign requests keep every byte', async () => {
    const file = (await openDirect(bench, 'model'))!;
    const model = Buffer.alloc(3 * MIB);
    let end = 0;
    let state = 12345;
    const next = (limit: number) => {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
      return Math.floor((state / 0x80000000) * limit);
    };
    for (let step = 0; step < 150; step++) {
      const shape = [1, 512, 4096][next(3)];
      const length = Math.max(1, next(step % 10 === 0 ? MIB + 9000 : 20000));
      const rounded = Math.ceil(length / shape) * shape;
      const offset = Math.floor(next(model.length - rounded) / shape) * shape;
      const data = step % 2 === 0 ? bench.host.memory.allocate(rounded) : Buffer.alloc(rounded);
      data.set(pattern(rounded, step));
      await file.write(offset, data);
      model.set(data, offset);
      end = Math.max(end, offset + rounded);
      expect(await file.size(), `size after step ${step}`).to.equal(end);
      const from = next(end);
      const back = Buffer.alloc(Math.min(50000, end - from));
      await file.read(from, back);
      expect(back.equals(model.subarray(from, from + back.length)), `step ${step}`).to.equal(true);
    }
    expect(readFileSync(file.path).equals(model.subarray(0, end))).to.equal(true);
    await file.close();
  });

  it('small writes side by side in one block all arrive', async () => {
    const file = (await openDirect(bench, 'neighbours'))!;
    const model = pattern(32768, 8);
    const all: Promise<void>[] = [];
    for (let at = 0; at < model.length; at += 100) all.push(file.write(at, model.subarray(at, at + 100)));
    await Promise.all(all);
    expect(readFileSync(file.path).equals(model)).to.equal(true);
    await file.close();
  });

  it('a whole-block write beside a part write of the same block keeps its other bytes', async () => {
    const file = (await openDirect(bench, 'overlap'))!;
    const block = bench.host.memory.allocate(4096);
    for (let round = 0; round < 50; round++) {
      block.fill(round + 1);
      const part = Buffer.alloc(10, 255);
      const both =
        round % 2 === 0
          ? [() => file.write(0, block), () => file.write(100, part)]
          : [() => file.write(100, part), () => file.write(0, block)];
      await Promise.all(both.map((start) => start()));
      const back = Buffer.alloc(4096);
      await file.read(0, back);
      back.fill(round + 1, 100, 110);
      expect(back.equals(Buffer.from(block)), `round ${round}`).to.equal(true);
    }
    await file.close();
  });

  it('more whole blocks at once than there are slots: each is written, and read, once', async () => {
    const COUNT = 1200;
    const file = (await openDirect(bench, 'many'))!;
    const { memory } = bench.host;
    const blocks = Array.from({ length: COUNT }, () => memory.allocate(4096));
    blocks.forEach((block, i) => {
      block.set(pattern(4096, i));
    });
    const writes = blocks.map((block, i) => file.write(i * 4096, block));
    expect(file.inFlight).to.equal(COUNT);
    await Promise.all(writes);
    expect(file.inFlight).to.equal(0);
    for (const block of blocks) block.fill(0);
    await Promise.all(blocks.map((block, i) => file.read((COUNT - 1 - i) * 4096, block)));
    blocks.forEach((block, i) => {
      expect(Buffer.compare(block, pattern(4096, COUNT - 1 - i)), `block ${i}`).to.equal(0);
      memory.free(block);
    });
    await file.close();
  });

  it('a whole-block write that fails says where, and is in the way of nobody', async () => {
    const file = (await openDirect(bench, 'fails'))!;
    const block = bench.host.memory.allocate(4096).fill(1);
    // Beyond what a file of any file system may have: EFBIG.
    const offset = 2 ** 52;
    const error = await failure(file.write(offset, block));
    expect(error).to.include({
      code: 'no-space',
      errno: 'EFBIG',
      operation: 'write',
      path: file.path,
      offset,
      length: 4096,
    });
    // It waits for whoever is in the block.
    await failure(file.write(offset + 1, Buffer.alloc(1)));
    expect(file.inFlight).to.equal(0);
    await file.close();
  });

  it('a file that is closed ends its whole-block writes first', async () => {
    const file = (await openDirect(bench, 'closed'))!;
    const data = bench.host.memory.allocate(MIB);
    data.set(pattern(MIB, 9));
    const parts = Array.from({ length: 64 }, (_, i) => data.subarray(i * 16384, (i + 1) * 16384));
    const writes = parts.map((part, i) => file.write(i * 16384, part));
    let written = 0;
    for (const write of writes) void write.then(() => written++);
    await file.close();
    expect(written).to.equal(parts.length);
    expect(readFileSync(file.path).equals(pattern(MIB, 9))).to.equal(true);
    expect(await failure(file.write(0, data))).to.include({ code: 'closed' });
  });

  it('the end of a file whose size is odd reads right, with zeroes behind it', async () => {
    const file = (await openDirect(bench, 'odd'))!;
    const data = pattern(10000, 4);
    await file.write(0, data);
    const back = bench.host.memory.allocate(65536).fill(1);
    await file.read(0, back);
    expect(Buffer.from(back).equals(Buffer.concat([data, Buffer.alloc(55536)]))).to.equal(true);
    const map = new Uint8Array(16);
    await file.read(0, back, { granule: 4096, map });
    expect([...map]).to.deep.equal([0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
    await file.close();
  });

  it('vectors, aligned and not', async () => {
    const file = (await openDirect(bench, 'vectors'))!;
    for (const lengths of [
      [4096, 8192, 65536],
      [100, 4096, 5],
    ]) {
      const parts = lengths.map((length) => bench.host.memory.allocate(length));
      for (const part of parts) part.set(pattern(part.byteLength, part.byteLength));
      await file.writev(4096, parts);
      const back = parts.map((part) => bench.host.memory.allocate(part.byteLength));
      await file.readv(4096, back);
      expect(Buffer.concat(back).equals(Buffer.concat(parts))).to.equal(true);
    }
    await file.close();
  });
});
