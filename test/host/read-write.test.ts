// Reading and writing files through the page cache: where buffers lie, how large they are, what lies past the end.
import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { failure, overEngines, pattern } from './engines.js';

const MIB = 1024 * 1024;

overEngines('buffered files', (bench) => {
  for (const length of [1, 512, 4096, 65536, 65537, 131073, 3 * MIB + 7]) {
    it(`write and read back ${length} bytes from the arena`, async () => {
      const { host } = bench;
      const file = await bench.open(`arena-${length}`);
      const out = host.memory.allocate(length);
      const back = host.memory.allocate(length);
      out.set(pattern(length, length));
      await file.write(12345, out);
      await file.read(12345, back);
      expect(host.memory.firstDifference(out, back)).to.equal(-1);
      expect(readFileSync(file.path).subarray(12345).equals(out)).to.equal(true);
      host.memory.free(out);
      host.memory.free(back);
      await file.close();
    });

    it(`write and read back ${length} bytes of the caller's own`, async () => {
      const file = await bench.open(`own-${length}`);
      const data = pattern(length, length + 1);
      await file.write(777, data);
      const back = Buffer.alloc(length);
      await file.read(777, back);
      expect(back.equals(data)).to.equal(true);
      await file.close();
    });
  }

  it('what lies past the end reads as zeroes', async () => {
    const file = await bench.open('short');
    await file.write(0, Buffer.from('abc'));
    for (const length of [8, 4096, 300000]) {
      const back = bench.host.memory.allocate(length).fill(255);
      await file.read(1, back);
      expect(Buffer.from(back.subarray(0, 3))).to.deep.equal(Buffer.from('bc\0'));
      expect(bench.host.memory.isZero(back.subarray(2))).to.equal(true);
      await file.read(1e12, back);
      expect(bench.host.memory.isZero(back)).to.equal(true);
    }
    await file.close();
  });

  it('a part of an arena buffer goes through as it is', async () => {
    const file = await bench.open('part');
    const buffer = bench.host.memory.allocate(8192);
    buffer.set(pattern(8192, 5));
    await file.write(0, buffer.subarray(1000, 1010));
    expect(readFileSync(file.path).equals(Buffer.from(buffer.subarray(1000, 1010)))).to.equal(true);
    await file.close();
  });

  it('a buffer of another host is bounced', async () => {
    const { openRealHost } = await import('../../src/host/real/index.js');
    const other = openRealHost({ engine: 'threads' });
    const buffer = other.memory.allocate(4096).fill(9);
    const file = await bench.open('other-host');
    await file.write(0, buffer);
    expect(readFileSync(file.path).equals(Buffer.alloc(4096, 9))).to.equal(true);
    await file.close();
    await other.close();
  });

  it('vectors scatter and gather one range', async () => {
    const file = await bench.open('vector');
    const parts = [1, 4096, 0, 70000, 5].map((length) => bench.host.memory.allocate(length));
    for (const part of parts) part.set(pattern(part.byteLength, part.byteLength));
    const mixed = [...parts, pattern(33, 77)];
    await file.writev(100, parts);
    await file.writev(100 + 74102, [mixed[5]]);
    const whole = Buffer.concat(mixed);
    expect(readFileSync(file.path).subarray(100).equals(whole)).to.equal(true);
    const back = mixed.map((part) => new Uint8Array(part.byteLength));
    await file.readv(100, back);
    expect(Buffer.concat(back).equals(whole)).to.equal(true);
    const arena = parts.map((part) => bench.host.memory.allocate(part.byteLength));
    await file.readv(100, arena);
    expect(Buffer.concat(arena).equals(Buffer.concat(parts))).to.equal(true);
    await file.close();
  });

  it('an empty request does nothing', async () => {
    const file = await bench.open('empty');
    await file.write(5, new Uint8Array(0));
    await file.read(5, bench.host.memory.allocate(0));
    await file.writev(0, []);
    expect(await file.size()).to.equal(0);
    await file.close();
  });

  it('a read tests what it read for zeroes', async () => {
    const file = await bench.open('scan');
    await file.truncate(4 * MIB);
    await file.write(65536 + 17, Buffer.from([1]));
    for (const buffer of [
      bench.host.memory.allocate(2 * MIB),
      new Uint8Array(2 * MIB),
      bench.host.memory.allocate(100000),
    ]) {
      const map = new Uint8Array(Math.ceil(buffer.byteLength / 65536)).fill(7);
      await file.read(0, buffer, { granule: 65536, map });
      expect([...map]).to.deep.equal([...map].map((_, i) => (i === 1 ? 0 : 1)));
    }
    await file.close();
  });

  it('refuses a place that cannot be', async () => {
    const file = await bench.open('place');
    const buffer = bench.host.memory.allocate(512);
    for (const offset of [-1, 0.5, Number.NaN, 2 ** 53, Number.MAX_SAFE_INTEGER]) {
      const read = await failure(file.read(offset, buffer));
      expect(read.code, `${offset}`).to.equal('invalid-argument');
      expect(read.operation).to.equal('read');
      expect((await failure(file.write(offset, Buffer.alloc(9)))).code).to.equal('invalid-argument');
    }
    expect(file.inFlight).to.equal(0);
    await file.close();
  });

  it('refuses a map that is too short, and a granule that is none', async () => {
    const file = await bench.open('map');
    const buffer = bench.host.memory.allocate(8192);
    const short = await failure(file.read(0, buffer, { granule: 512, map: new Uint8Array(15) }));
    expect(short.code).to.equal('invalid-argument');
    for (const granule of [0, 100, -512, Number.NaN]) {
      const error = await failure(file.read(0, buffer, { granule, map: new Uint8Array(99) }));
      expect(error.code).to.equal('invalid-argument');
    }
    await file.close();
  });

  it('refuses to write what is open for reading', async () => {
    writeFileSync(bench.path('read-only'), 'x');
    const file = await bench.open('read-only', { writable: false, create: 'never' });
    for (const attempt of [
      file.write(0, Buffer.from('y')),
      file.truncate(0),
      file.punchHole(0, 1),
      file.writev(0, []),
    ]) {
      expect((await failure(attempt)).code).to.equal('read-only');
    }
    expect(readFileSync(file.path, 'latin1')).to.equal('x');
    await file.close();
  });
});
