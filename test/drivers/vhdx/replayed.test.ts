// What the entries of a log make of the file together: the last one that says something of a sector counts.

import { expect } from 'chai';
import { describe, it } from 'mocha';
import { Replayed } from '../../../src/drivers/formats/vhdx/log.js';
import type { LogWrite } from '../../../src/drivers/formats/vhdx/log-entry.js';
import { Random } from '../../../src/host/sim/random.js';

const SECTOR = 4096;
const SECTORS = 40;

/** A sector of the byte `at % 251`. */
function dataAt(offset: number, at: number): LogWrite {
  const byte = at % 251;
  return { kind: 'data', offset, at, leading: new Uint8Array(8).fill(byte), trailing: new Uint8Array(4).fill(byte) };
}

/** The log: what lies at `offset` is `offset % 251`. */
async function read(offset: number, buffer: Uint8Array): Promise<void> {
  buffer.fill(offset % 251);
}

describe('vhdx: writes of a log', () => {
  it('count in their order, data and zeroes', async () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = new Random(seed, 1);
      const model = new Uint8Array(SECTORS).fill(255);
      const writes: LogWrite[] = [];
      for (let i = random.between(1, 40); i > 0; i--) {
        const first = random.below(SECTORS);
        if (random.chance(0.5)) {
          const at = random.between(1, 250);
          writes.push(dataAt(first * SECTOR, at));
          model[first] = at;
        } else {
          const sectors = random.below(SECTORS - first + 1);
          writes.push({ kind: 'zero', offset: first * SECTOR, length: sectors * SECTOR });
          model.fill(0, first, first + sectors);
        }
      }
      const bytes = new Uint8Array(SECTORS * SECTOR).fill(255);
      await new Replayed(0, bytes.length, writes).over(read, 0, bytes);
      const expected = new Uint8Array(bytes.length);
      for (const [sector, byte] of model.entries()) expected.fill(byte, sector * SECTOR, (sector + 1) * SECTOR);
      expect(Buffer.compare(bytes, expected), `seed ${seed}`).to.equal(0);
    }
  });

  it('are sorted in bounded time, however many ranges of zeroes there are', () => {
    const count = 150_000;
    const data = Array.from({ length: count }, (_, index) => dataAt(index * SECTOR, 0));
    const zero: LogWrite = { kind: 'zero', offset: 2 ** 40, length: 2 ** 40 };
    const { lastBytes } = new Replayed(0, 2 ** 41, [...data, ...Array(count).fill(zero)]);
    expect(lastBytes).to.equal(2 ** 41);
  });
});
