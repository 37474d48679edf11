// Small helpers of the block core's tests: images on a simulated disk whose answers come when the test lets time pass.

import { type NodeUser, withLink } from '../../src/block/child.js';
import type { BlockNode } from '../../src/block/node/node.js';
import type { WriteObserver } from '../../src/block/observer.js';
import { type OpenOptions, openNode } from '../../src/block/open.js';
import { type Extent, PERM_ALL, Perm } from '../../src/block/types.js';
import type { SimHostOptions, SimOperation } from '../../src/host/sim/index.js';
import { type Bench, makeBench, used } from '../drivers/support.js';

const LATE_MS = 100;
/** By then all late answers are there. */
export const PASS_MS = 200;

/** Somebody who uses nodes and never sends anything. */
export const nobody: NodeUser = { userName: 'nobody' };

/** Opens the raw image `path`, made with `content` where that is given. Discards go through. */
export function openRaw(bench: Bench, path: string, content?: Uint8Array, options: OpenOptions = {}) {
  if (content !== undefined) bench.host.writeFile(path, content);
  return openNode(bench.graph, path, { format: 'raw', discard: 'unmap', ...options });
}

/** The same with a user that may do everything and lets others do everything, so that the node's own methods can be called. */
export function openUsed(bench: Bench, path: string, content?: Uint8Array, options: OpenOptions = {}) {
  return used(openRaw(bench, path, content, options));
}

/** Answers to these requests take a while of a clock that stands still until `host.advance(PASS_MS)`; all others come at once. */
export function lateBench(late: readonly SimOperation[], options: SimHostOptions = {}): Bench {
  return makeBench({
    manualClock: true,
    onRequest: ({ operation }) => (late.includes(operation) ? { delayMs: LATE_MS } : undefined),
    ...options,
  });
}

/** What became of a promise so far: all that can run without time passing has run. */
export async function stateOf(promise: Promise<unknown>): Promise<'pending' | 'resolved' | 'rejected'> {
  let state: 'pending' | 'resolved' | 'rejected' = 'pending';
  promise.then(
    () => {
      state = 'resolved';
    },
    () => {
      state = 'rejected';
    },
  );
  await new Promise<void>((resolve) => setImmediate(resolve));
  return state;
}

/** Writes down what an observer is told. */
export class Recorder implements WriteObserver {
  readonly seen: string[] = [];
  readonly #name: string;

  constructor(name = '') {
    this.#name = name;
  }

  async beforeWrite(extents: readonly Extent[]): Promise<void> {
    this.#note('before', extents);
  }

  async afterWrite(extents: readonly Extent[], kind: string, data: Uint8Array | null): Promise<void> {
    this.#note(data === null ? kind : `${kind} of ${data.length}`, extents);
  }

  writeFailed(extents: readonly Extent[]): void {
    this.#note('failed', extents);
  }

  #note(what: string, extents: readonly Extent[]): void {
    this.seen.push(`${this.#name}${what} ${extents.map(({ offset, length }) => `${offset}+${length}`).join(' ')}`);
  }
}

export async function contentOf(node: BlockNode, offset = 0, length = node.length - offset): Promise<Buffer> {
  const buffer = Buffer.alloc(length, 0xee);
  const use = { user: nobody, role: 'root', perm: Perm.CONSISTENT_READ, shared: PERM_ALL } as const;
  await withLink(node, use, (link) => link.read(offset, buffer));
  return buffer;
}
