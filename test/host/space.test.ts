// Size, reservation, holes and copies inside the kernel.
import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { expect } from 'chai';
import { failure, overEngines, pattern } from './engines.js';

const MIB = 1024 * 1024;

overEngines('space', (bench) => {
  it('truncate makes a file longer and shorter, and new space reads as zeroes', async () => {
    const file = await bench.open('truncate');
    await file.write(0, pattern(5000, 1));
    await file.truncate(100);
    await file.truncate(10000);
    expect(await file.size()).to.equal(10000);
    const wanted = Buffer.concat([pattern(100, 1), Buffer.alloc(9900)]);
    expect(readFileSync(file.path).equals(wanted)).to.equal(true);
    await file.close();
  });

  it('a sparse file beyond 8 TiB is written and read at its end', async () => {
    const file = await bench.open('large');
    const end = 9 * 2 ** 40;
    await file.write(end - 100, Buffer.from('the end'));
    expect(await file.size()).to.equal(end - 93);
    const back = Buffer.alloc(7);
    await file.read(end - 100, back);
    expect(back.toString()).to.equal('the end');
    const found = await file.seek(0);
    expect(found.data).to.equal(false);
    expect(found.end).to.be.closeTo(end - 100, 65536);
    await file.close();
  });

  it('allocate reserves, with or without a new size', async () => {
    const file = await bench.open('allocate');
    await file.allocate(0, MIB, true);
    expect(await file.size()).to.equal(0);
    expect((await file.info()).allocated).to.be.at.least(MIB);
    await file.allocate(0, 2 * MIB, false);
    expect(await file.size()).to.equal(2 * MIB);
    await file.close();
  });

  it('punchHole, discard and zeroRange leave zeroes; holes are found by seek', async () => {
    const file = await bench.open('holes');
    const data = pattern(MIB, 3);
    await file.write(0, data);
    await file.punchHole(65536, 65536);
    await file.discard(3 * 65536, 65536);
    await file.zeroRange(5 * 65536 + 5, 100);
    data.fill(0, 65536, 131072);
    data.fill(0, 3 * 65536, 4 * 65536);
    data.fill(0, 5 * 65536 + 5, 5 * 65536 + 105);
    expect(readFileSync(file.path).equals(data)).to.equal(true);
    expect(await file.seek(0)).to.deep.equal({ data: true, end: 65536 });
    expect(await file.seek(65536)).to.deep.equal({ data: false, end: 131072 });
    expect(await file.seek(70000)).to.deep.equal({ data: false, end: 131072 });
    expect(await file.seek(140000)).to.deep.equal({ data: true, end: 3 * 65536 });
    await file.truncate(2 * MIB);
    expect((await file.seek(MIB + 1)).end).to.equal(2 * MIB);
    await file.close();
  });

  it('seek at or past the end is refused', async () => {
    const file = await bench.open('seek-end');
    await file.write(0, Buffer.from('abc'));
    for (const offset of [3, 4, 1e9]) expect((await failure(file.seek(offset))).code).to.equal('out-of-bounds');
    await file.close();
  });

  it('copyRange copies inside the kernel, and is short at the end of the source', async () => {
    const source = await bench.open('copy-source');
    const target = await bench.open('copy-target');
    const data = pattern(300000, 9);
    await source.write(0, data);
    expect(await source.copyRange(1000, target, 5000, 100000)).to.equal(100000);
    expect(await source.copyRange(250000, target, 0, 100000)).to.equal(50000);
    const wanted = Buffer.alloc(105000);
    data.copy(wanted, 5000, 1000, 101000);
    data.copy(wanted, 0, 250000);
    expect(readFileSync(target.path).subarray(0, 50000).equals(wanted.subarray(0, 50000))).to.equal(true);
    expect(readFileSync(target.path).subarray(50000).equals(wanted.subarray(50000))).to.equal(true);
    expect(target.inFlight + source.inFlight).to.equal(0);
    await target.close();
    expect((await failure(source.copyRange(0, target, 0, 10))).code).to.equal('closed');
    await source.close();
  });

  it('copyRange to what is no regular file is unsupported', async () => {
    const source = await bench.open('copy-odd');
    await source.write(0, Buffer.from('abc'));
    const zero = await bench.host.open('/dev/zero', { writable: true });
    expect((await failure(source.copyRange(0, zero, 0, 3))).code).to.equal('unsupported');
    expect((await failure(zero.punchHole(0, 4096))).code).to.equal('unsupported');
    expect((await failure(zero.truncate(4096))).code).to.equal('unsupported');
    await zero.close();
    await source.close();
  });

  it('truncate and exclusive as ways to make a file', async () => {
    const first = await bench.open('made', { create: 'exclusive' });
    await first.write(0, Buffer.from('abc'));
    await first.close();
    expect((await failure(bench.open('made', { create: 'exclusive' }))).code).to.equal('exists');
    const kept = await bench.open('made', { create: 'keep' });
    expect(await kept.size()).to.equal(3);
    await kept.close();
    const cut = await bench.open('made', { create: 'truncate' });
    expect(await cut.size()).to.equal(0);
    await cut.close();
    expect((await failure(bench.open('not-made', { create: 'never' }))).code).to.equal('not-found');
  });

  it('info and stat say what the system says', async () => {
    const file = await bench.open('info');
    await file.write(0, pattern(10000, 4));
    await file.flush();
    const stat = statSync(file.path);
    const wanted = { kind: 'file', size: 10000, allocated: stat.blocks * 512, id: `${stat.dev}:${stat.ino}` };
    for (const info of [await file.info(), await bench.host.stat(file.path)]) {
      expect(info).to.include(wanted);
      expect(info.mtimeMs).to.be.closeTo(stat.mtimeMs, 1);
    }
    expect((await bench.host.stat(bench.folder)).kind).to.equal('directory');
    expect(await bench.host.freeSpace(bench.path('not-there'))).to.be.greaterThan(MIB);
    mkdirSync(Buffer.concat([Buffer.from(bench.path('folder')), Buffer.of(0xff)]));
    expect(await bench.host.freeSpace(bench.path('folder\udcff/not-there'))).to.be.greaterThan(MIB);
    await file.close();
    await bench.host.unlink(file.path);
    expect((await failure(bench.host.stat(file.path))).code).to.equal('not-found');
  });
});
