// dmg: chunks of ADC are decompressed on the main thread, where others have their turn meanwhile.

import { expect } from 'chai';
import { describe, it } from 'mocha';
import { decompressAdc } from '../../../src/drivers/formats/dmg/adc.js';
import { realClock } from '../../../src/host/real/clock.js';

const CHUNK_BYTES = 16 << 20;
/** Copies of 64 bytes from one byte before. */
const COPY = [0x40 | 60, 0, 0];

/** Two bytes as they are, and copies. */
function packed(bytes: number): Uint8Array {
  const copies = Math.ceil(bytes / 64);
  const all = new Uint8Array(3 + COPY.length * copies);
  all.set([0x81, 7, 7]);
  for (let i = 0; i < copies; i++) all.set(COPY, 3 + COPY.length * i);
  return all;
}

/** The result, and how many turns others had. */
async function turnsOf(stored: Uint8Array, output: Uint8Array): Promise<[boolean, number]> {
  let turns = 0;
  let isDone = false;
  const other = (): void => {
    turns++;
    if (!isDone) setImmediate(other);
  };
  setImmediate(other);
  const result = await decompressAdc(realClock, stored, output);
  isDone = true;
  return [result, turns];
}

describe('dmg: ADC', () => {
  it('lets others have a turn for each MiB', async () => {
    const output = new Uint8Array(CHUNK_BYTES - 62);
    const [result, turns] = await turnsOf(packed(CHUNK_BYTES), output);
    expect([result, output.every((byte) => byte === 7)]).to.deep.equal([true, true]);
    expect(turns).to.be.greaterThan(15);
  });

  it('ends where it is broken, however much was to come', async () => {
    const stored = packed(1 << 20);
    const [result, turns] = await turnsOf(stored, new Uint8Array(CHUNK_BYTES));
    expect(result).to.equal(false);
    expect(turns).to.be.greaterThan(0);
  });
});
