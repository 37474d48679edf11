// What must hold of any open image, whatever was done to it: its content, its block status, its fast path, its consistency.

import { expect } from 'chai';
import { findingText } from '../../src/block/finding-text.js';
import type { BlockNode } from '../../src/block/node/node.js';
import type { BlockStatus, Located } from '../../src/block/types.js';
import { Random } from '../../src/host/sim/index.js';
import { dishonestStatus } from '../support/honest-status.js';

export async function contentOf(node: BlockNode): Promise<Buffer> {
  const buffer = Buffer.alloc(node.length, 0xee);
  await node.read(0, buffer);
  return buffer;
}

/** A message that can be read, where `expect` would print megabytes. */
export function expectSame(actual: Uint8Array, expected: Uint8Array, what: string): void {
  expect(actual.length, `${what}: length`).to.equal(expected.length);
  if (Buffer.compare(actual, expected) === 0) return;
  const at = actual.findIndex((byte, i) => byte !== expected[i]);
  const last = actual.findLastIndex((byte, i) => byte !== expected[i]);
  expect.fail(`${what}: byte ${at} is ${actual[at]}, not ${expected[at]}; the last that differs is ${last}`);
}

export async function expectContent(node: BlockNode, expected: Uint8Array, what = node.driver): Promise<void> {
  expectSame(await contentOf(node), expected, what);
}

export async function statusRuns(node: BlockNode): Promise<(BlockStatus & { start: number })[]> {
  const runs: (BlockStatus & { start: number })[] = [];
  for (let start = 0; start < node.length; ) {
    const status = await node.blockStatus(start, node.length - start);
    expect(status.length, `run at ${start}`).to.be.within(1, node.length - start);
    runs.push({ ...status, start });
    start += status.length;
  }
  return runs;
}

function sameRun(a: BlockStatus, b: BlockStatus): boolean {
  const kinds = (['allocated', 'data', 'zero', 'compressed', 'inherited', 'node'] as const).every(
    (key) => a[key] === b[key],
  );
  return kinds && (a.offset < 0 ? b.offset < 0 : a.offset + a.length === b.offset);
}

/** The status covers the node without gaps, is coalesced, and says nothing of the content that is not so. */
export async function expectHonestStatus(node: BlockNode, below: Uint8Array): Promise<void> {
  const content = await contentOf(node);
  const runs = await statusRuns(node);
  for (const [index, run] of runs.entries()) {
    const { start, length } = run;
    const what = `status ${start}+${length}`;
    const bytes = content.subarray(start, start + length);
    if (index > 0 && !run.compressed) expect(sameRun(runs[index - 1], run), `${what} is not coalesced`).to.equal(false);
    if (run.zero) expectSame(bytes, new Uint8Array(length), what);
    if (!run.allocated && !run.zero) expectSame(bytes, padded(below, start, length), what);
    if (run.data) expect(run.allocated, what).to.equal(true);
    expect(run.offset >= 0, what).to.equal(run.node !== null);
    if (run.data && run.node !== null && run.node !== node) {
      const there = Buffer.alloc(length);
      await run.node.read(run.offset, there);
      expectSame(bytes, there, `${what} at ${run.offset} of ${run.node.nodeName}`);
    }
    const { start: _, ...status } = run;
    const atOnce = node.blockStatusSync(start, length);
    if (atOnce !== null) {
      expect(atOnce.length, what).to.be.within(1, length);
      expect({ ...atOnce, length }, `${what} without waiting`).to.deep.equal(status);
    }
    // The same from any place within, and no more than is asked for.
    const inside = Math.floor(length / 2);
    const part = await node.blockStatus(start + inside, Math.min(1 + (inside >> 1), length - inside));
    expect(part, what).to.include({
      length: Math.min(1 + (inside >> 1), length - inside),
      allocated: run.allocated,
      data: run.data,
      zero: run.zero,
      offset: run.offset < 0 ? -1 : run.offset + inside,
    });
  }
}

/** Wherever the fast path knows a place, the bytes lie there. */
export async function expectHonestFastPath(node: BlockNode, seed: number): Promise<number> {
  const content = await contentOf(node);
  const random = new Random(seed, 77);
  const place: Located = { file: null, offset: 0, guard: null };
  let hits = 0;
  for (let i = 0; i < 60; i++) {
    const offset = random.below(node.length);
    const length = random.between(1, Math.min(node.length - offset, random.pick([1, 512, 5000, 70000])));
    if (!node.locate(offset, length, false, place)) continue;
    hits++;
    node.sent();
    const there = Buffer.alloc(length);
    const { guard, offset: at } = place;
    // Null: all of it is zeroes, as `there` is.
    if (place.file !== null) await place.file.read(at, there);
    node.answered(false, offset, length, guard);
    expectSame(there, content.subarray(offset, offset + length), `located ${offset}+${length} at ${at}`);
  }
  expect(node.locate(node.length, 1, false, place), 'located behind the end').to.equal(false);
  expect(node.locate(node.length - 1, 2, false, place), 'located over the end').to.equal(false);
  return hits;
}

/** Formats that can check themselves find nothing wrong. While an image is written to, clusters may wait to be freed: no leaks else. */
export async function expectConsistent(node: BlockNode): Promise<void> {
  const inspectable = node.abilities.check;
  if (inspectable === undefined) return;
  const findings: string[] = [];
  const { corruptions, leaks, checkErrors } = await inspectable((finding) => findings.push(findingText(finding)));
  const found = { corruptions, checkErrors, leaks: node.readOnly ? leaks : 0 };
  expect(found, findings.slice(0, 5).join('; ')).to.deep.equal({ corruptions: 0, checkErrors: 0, leaks: 0 });
}

export async function expectAllHonest(node: BlockNode, below: Uint8Array, seed: number): Promise<void> {
  await expectHonestStatus(node, below);
  expect(await dishonestStatus(node), 'status and reads').to.equal(null);
  await expectHonestFastPath(node, seed);
  await expectConsistent(node);
}

/** `length` bytes from `start`, zeroes behind the end. */
function padded(bytes: Uint8Array, start: number, length: number): Uint8Array {
  const out = new Uint8Array(length);
  out.set(bytes.subarray(Math.min(start, bytes.length), start + length));
  return out;
}
