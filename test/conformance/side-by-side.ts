// Requests that run side by side, overlap, and are under way while the image is closed.

import { expect } from 'chai';
import { Random } from '../../src/host/sim/index.js';
import { isFilled } from '../support/zeroes.js';
import { contentOf, expectAllHonest, expectContent, expectSame } from './checks.js';
import { codeOf } from './entry.js';
import { SEEDS, type Suite } from './suite.js';

export function sideBySideBehaviours({ capabilities, size, unit, behaves }: Suite): void {
  for (const seed of SEEDS) {
    behaves(
      `keeps requests that run side by side apart (seed ${seed})`,
      async ({ node, fresh, below }) => {
        const random = new Random(seed, 9);
        const requests: Promise<void>[] = [];
        // Pieces that share clusters, and none of them a byte.
        for (let at = random.below(100); at < size; ) {
          const length = Math.min(size - at, random.between(1, Math.max(3000, Math.floor(size / 60))));
          const offset = at;
          if (random.chance(0.3)) {
            requests.push(node.writeZeroes(offset, length, { mayUnmap: random.chance(0.5) }));
            fresh.fill(0, offset, offset + length);
          } else {
            const bytes = new Uint8Array(length).fill(random.between(1, 255));
            requests.push(node.write(offset, bytes));
            fresh.set(bytes, offset);
          }
          at += length + random.pick([0, 0, 1, 700]);
          if (random.chance(0.1)) requests.push(node.flush());
        }
        await Promise.all(requests);
        if (!capabilities.keeps) fresh.fill(0);
        await expectContent(node, fresh);
        await expectAllHonest(node, below, seed);
      },
      seed,
    );

    behaves(
      `ends overlapping writes as one of them, sector by sector (seed ${seed})`,
      async ({ node, fresh, below, again }) => {
        const random = new Random(seed, 10);
        const allowed = Array.from({ length: size / 512 }, (_, sector) => new Set([fresh[sector * 512]]));
        const requests: Promise<void>[] = [];
        const area = Math.min(size / 512, Math.max(64, (3 * unit) / 512));
        for (let i = 0; i < 30; i++) {
          const first = random.below(area);
          const count = random.between(1, Math.min(area - first, 1 + Math.ceil(unit / 256)));
          const value = random.chance(0.2) ? 0 : i + 1;
          const [offset, length] = [first * 512, count * 512];
          requests.push(
            value === 0 ? node.writeZeroes(offset, length) : node.write(offset, new Uint8Array(length).fill(value)),
          );
          for (let sector = first; sector < first + count; sector++) allowed[sector].add(value);
        }
        await Promise.all(requests);
        const content = await contentOf(node);
        for (let sector = 0; sector < area; sector++) {
          const bytes = content.subarray(sector * 512, (sector + 1) * 512);
          if (allowed[sector].size === 1) continue;
          const whole = isFilled(bytes, bytes[0]);
          const old = Buffer.compare(bytes, fresh.subarray(sector * 512, (sector + 1) * 512)) === 0;
          expect(old || (whole && allowed[sector].has(bytes[0])) || !capabilities.keeps, `sector ${sector}`).to.equal(
            true,
          );
        }
        await expectAllHonest(node, below, seed);
        await expectContent(await again(true), content);
      },
      seed,
    );
  }

  behaves('answers reads beside writes with the old or the new', async ({ node, seed }) => {
    if (!capabilities.keeps) return;
    await node.write(0, new Uint8Array(size).fill(1));
    const random = new Random(seed, 11);
    const requests: Promise<void>[] = [];
    for (let i = 0; i < 20; i++) {
      const offset = random.below(size / 512) * 512;
      const bytes = Buffer.alloc(512, 0xee);
      requests.push(node.write(offset, new Uint8Array(512).fill(2)));
      requests.push(
        node.read(offset, bytes).then(() => {
          expect(bytes[0]).to.be.oneOf([1, 2]);
          expectSame(bytes, new Uint8Array(512).fill(bytes[0]), `sector at ${offset}`);
        }),
      );
    }
    await Promise.all(requests);
  });

  behaves('does not let a read see what is written elsewhere meanwhile', async ({ node }) => {
    if (!capabilities.keeps) return;
    const half = Math.floor(size / 2 / unit) * unit;
    for (let round = 0; round < 10; round++) {
      await node.write(0, new Uint8Array(half).fill(1));
      const pieces = Array.from({ length: 16 }, () => Buffer.alloc(64, 0xee));
      const reads = pieces.map((piece, i) => node.read(Math.floor((i * half) / 16), piece));
      // What is given back here could be taken again there.
      await node.discard(0, half);
      await node.flush();
      await node.flush();
      await node.write(half, new Uint8Array(size - half).fill(2));
      await Promise.all(reads);
      for (const piece of pieces) expect(piece[0]).to.be.oneOf([0, 1]);
      await node.writeZeroes(half, size - half, { mayUnmap: true });
      await node.flush();
    }
  });

  behaves('closes with requests under way: they are answered, and they last', async ({ node, graph, fresh, again }) => {
    const step = Math.floor(size / 8);
    const requests: Promise<void>[] = [];
    for (let i = 0; i < 8; i++) {
      fresh.fill(i + 1, i * step, (i + 1) * step);
      requests.push(node.write(i * step, fresh.slice(i * step, (i + 1) * step)));
    }
    requests.push(node.read(0, new Uint8Array(size)));
    const closing = graph.closeAll();
    expect(await codeOf(node.write(0, new Uint8Array(1)))).to.equal('closed');
    await Promise.all([closing, ...requests]);
    expect(await codeOf(node.read(0, new Uint8Array(1)))).to.equal('closed');
    if (!capabilities.keeps) fresh.fill(0);
    await expectContent(await again(), fresh);
  });
}
