// The arena: alignment, use again, misuse, the limit, and that no view ever sees memory that is gone.
import { spawnSync } from 'node:child_process';
import { expect } from 'chai';
import { openRealHost } from '../../src/host/real/index.js';
import { BlockError } from '../../src/util/errors.js';
import { programOf } from '../support/program.js';
import { overEngines } from './engines.js';

const MIB = 1024 * 1024;
const OUTLIVE = new URL('./outlive.ts', import.meta.url);

function codeOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    if (error instanceof BlockError) return error.code;
    throw error;
  }
  return 'none';
}

overEngines('arena', (bench) => {
  it('buffers are aligned to 4096 and have the length that was asked', () => {
    const { memory } = bench.host;
    for (const length of [0, 1, 4095, 4096, 4097, 65536, 100000, 2 * MIB, 2 * MIB + 1, 9 * MIB]) {
      const buffer = memory.allocate(length);
      expect(buffer.byteLength).to.equal(length);
      expect(memory.addressOf(buffer) % 4096).to.equal(0);
      memory.free(buffer);
    }
  });

  it('buffers that are held never overlap', () => {
    const { memory } = bench.host;
    const held: Uint8Array[] = [];
    for (let i = 0; i < 300; i++) {
      const buffer = memory.allocate(1 + ((i * 7919) % 50000));
      buffer.fill(i & 255);
      held.push(buffer);
      if (i % 3 === 0) memory.free(held.splice((i * 31) % held.length, 1)[0]);
    }
    const spans = held
      .map((b) => [memory.addressOf(b), memory.addressOf(b) + b.byteLength])
      .sort((a, b) => a[0] - b[0]);
    for (let i = 1; i < spans.length; i++) expect(spans[i][0]).to.be.at.least(spans[i - 1][1]);
    for (const buffer of held) memory.free(buffer);
  });

  it('the last buffer given back is the next handed out', () => {
    const { memory } = bench.host;
    const first = memory.allocate(5000);
    memory.free(first);
    expect(memory.allocate(5000)).to.equal(first);
    memory.free(first);
  });

  it('refuses what is not its own, a second free, and lengths that cannot be', () => {
    const { memory } = bench.host;
    const buffer = memory.allocate(64);
    expect(codeOf(() => memory.free(new Uint8Array(64)))).to.equal('invalid-argument');
    expect(codeOf(() => memory.free(buffer.subarray(1)))).to.equal('invalid-argument');
    memory.free(buffer);
    expect(codeOf(() => memory.free(buffer))).to.equal('invalid-argument');
    for (const length of [-1, 0.5, Number.NaN, 2 ** 53]) {
      expect(codeOf(() => memory.allocate(length))).to.equal('invalid-argument');
    }
  });

  it('a slab cannot be taken away by a transfer', () => {
    const buffer = bench.host.memory.allocate(4096).fill(3);
    // Node 20 copies what may not be transferred, later ones refuse.
    try {
      structuredClone(buffer.buffer.byteLength, { transfer: [buffer.buffer as ArrayBuffer] });
    } catch (error) {
      expect((error as Error).name).to.equal('DataCloneError');
    }
    expect(buffer.byteLength).to.equal(4096);
    bench.host.memory.free(buffer);
  });
});

describe('arena, its limit and its end', () => {
  it('ends at the limit with an error, and goes on once something is free', async () => {
    const host = openRealHost({ engine: 'threads', memoryLimit: 64 * MIB });
    const held = [host.memory.allocate(30 * MIB), host.memory.allocate(30 * MIB)];
    expect(codeOf(() => host.memory.allocate(30 * MIB))).to.equal('limit');
    expect(codeOf(() => host.memory.allocate(4096))).to.equal('limit');
    host.memory.free(held[0]);
    const other = host.memory.allocate(20 * MIB);
    expect(host.memory.mapped).to.be.at.most(64 * MIB);
    other.fill(1);
    await host.close();
  });

  it('a view that outlives its host still reads what was in it, and the memory goes when the view has gone', () => {
    const { stdout, stderr } = spawnSync(process.execPath, ['--expose-gc', programOf(OUTLIVE)], {
      encoding: 'utf8',
    });
    expect({ stdout: stdout.trim(), stderr }).to.deep.equal({ stdout: 'held 1, intact true, after 0', stderr: '' });
  });

  it('a host that is closed hands out nothing', async () => {
    const host = openRealHost({ engine: 'threads' });
    host.memory.free(host.memory.allocate(4096));
    await host.close();
    expect(codeOf(() => host.memory.allocate(4096))).to.equal('closed');
  });
});
