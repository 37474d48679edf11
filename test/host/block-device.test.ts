// Block devices: a loop device over a file, where this machine lets us make one.
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Workspace } from '../../src/library/workspace.js';
import { leaveOut } from '../support/needs.js';
import { failure, overEngines, pattern } from './engines.js';

const MIB = 1024 * 1024;
const SIZE = 16 * MIB;

for (const sector of [512, 4096]) {
  blockDevice(sector);
}

function blockDevice(sector: number): void {
  overEngines(`block devices with sectors of ${sector}`, (bench) => {
    let device = '';

    before(function () {
      writeFileSync(bench.path('disk'), '');
      truncateSync(bench.path('disk'), SIZE);
      const made = spawnSync('losetup', ['--find', '--show', '--sector-size', `${sector}`, bench.path('disk')], {
        encoding: 'utf8',
      });
      if (made.status === 0) {
        device = made.stdout.trim();
      } else {
        leaveOut(this, 'loop devices');
      }
    });
    after(() => {
      if (device !== '') execFileSync('losetup', ['--detach', device]);
    });

    it("kind and size are the device's", async () => {
      const file = await bench.host.open(device, { writable: false });
      expect(file.kind).to.equal('block');
      expect(await file.size()).to.equal(SIZE);
      expect((await file.info()).size).to.equal(SIZE);
      expect(await bench.host.stat(device)).to.include({ kind: 'block', size: SIZE });
      expect((await file.seek(0)).end).to.be.greaterThan(0);
      await file.close();
    });

    for (const direct of [false, true]) {
      it(`is written and read, ${direct ? 'direct' : 'buffered'}, aligned or not`, async () => {
        const file = await bench.host.open(device, { writable: true, direct });
        const data = pattern(MIB, direct ? 1 : 2);
        await file.write(MIB, data);
        await file.write(MIB + 1001, Buffer.alloc(7, 255));
        data.fill(255, 1001, 1008);
        const back = Buffer.alloc(MIB);
        await file.read(MIB, back);
        expect(back.equals(data)).to.equal(true);
        await file.flush();
        await file.close();
        expect(
          readFileSync(bench.path('disk'))
            .subarray(MIB, 2 * MIB)
            .equals(data),
        ).to.equal(true);
      });
    }

    it('zeroRange, punchHole and discard leave zeroes on this device; and a discard of less than a sector is none', async () => {
      const file = await bench.host.open(device, { writable: true });
      const data = pattern(MIB, 3);
      for (const clear of [
        () => file.zeroRange(4096, 65536),
        () => file.punchHole(4096, 65536),
        () => file.discard(4000, 65632 + 96),
      ]) {
        await file.write(0, data);
        await file.flush();
        await clear();
        const back = Buffer.alloc(MIB);
        await file.read(0, back);
        expect(
          back.equals(Buffer.concat([data.subarray(0, 4096), Buffer.alloc(65536), data.subarray(4096 + 65536)])),
        ).to.equal(true);
      }
      await file.discard(1, 100);
      await file.close();
    });

    for (const direct of [false, true]) {
      it(`ranges that are no whole sectors become zeroes to the byte, ${direct ? 'direct' : 'buffered'}`, async () => {
        const file = await bench.host.open(device, { writable: true, direct });
        for (const [offset, length] of [
          [0, 2560],
          [1, 512],
          [511, 2],
          [4095, 4098],
          [100, 100],
          [4096, 10_000],
          [3, 70_000],
          [8192, 0],
        ]) {
          for (const clear of ['zeroRange', 'punchHole'] as const) {
            const wanted = pattern(MIB, 4);
            await file.write(0, wanted);
            await file[clear](offset, length);
            wanted.fill(0, offset, offset + length);
            const back = Buffer.alloc(MIB);
            await file.read(0, back);
            expect(back.equals(wanted), `${clear} ${offset} ${length}`).to.equal(true);
          }
        }
        await file.close();
      });
    }

    it('a qcow2 image with clusters of 512 bytes fits on it', async () => {
      const workspace = new Workspace(bench.host);
      await workspace.create(device, { driver: 'qcow2', size: MIB, 'cluster-size': 512 });
      const image = await workspace.open(device, { format: 'qcow2' });
      await image.write(1000, pattern(5000, 6));
      await image.writeZeroes(2000, 1000);
      await image.discard(4096, 512);
      const back = Buffer.alloc(5000);
      await image.read(1000, back);
      const wanted = Buffer.from(pattern(5000, 6));
      wanted.fill(0, 1000, 2000);
      expect(back.subarray(0, 3000).equals(wanted.subarray(0, 3000))).to.equal(true);
      await image.close();
    });

    it('its size cannot change, and a write past its end fails', async () => {
      const file = await bench.host.open(device, { writable: true });
      await file.truncate(SIZE);
      expect((await failure(file.truncate(SIZE - 512))).code).to.equal('unsupported');
      const error = await failure(file.write(SIZE, Buffer.alloc(512)));
      expect([error.code, error.operation, error.offset]).to.deep.equal(['no-space', 'write', SIZE]);
      await file.close();
    });
  });
}
