// What the proofs of options share: an effect by the name of its member, and images on the simulated disk.

import { expect } from 'chai';
import { createNode } from '../../../src/block/create.js';
import { Graph } from '../../../src/block/graph.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import { type OpenOptions, openNode } from '../../../src/block/open.js';
import { validate } from '../../../src/schema/validate.js';
import { toBlockError } from '../../../src/util/errors.js';
import { type Bench, failureOf, makeBench, used } from '../../drivers/support.js';

/** By `Type.member`: what the member does, and the proof that it does so, or that it is refused by name. */
export type Effects = Readonly<Record<string, readonly [does: string, proof: () => Promise<unknown>]>>;

export const PATH = '/image';
export const SIZE = 1 << 20;

/** A bench with an image file of `SIZE` bytes of ones. */
export function withFile(): Bench {
  const bench = makeBench();
  bench.host.writeFile(PATH, new Uint8Array(SIZE).fill(1));
  return bench;
}

/** Opens what the options say, for a user who may do everything. Options of the types that are walked go through the validator. */
export function opened(bench: Bench, options: object, how: OpenOptions = {}): Promise<BlockNode> {
  return used(openNode(bench.graph, validate('BlockdevOptions', options), how));
}

export const file = (own: object = {}): object => ({ driver: 'file', filename: PATH, ...own });
export const qcow2 = (own: object = {}): object => ({ driver: 'qcow2', file: file({ discard: 'unmap' }), ...own });

/** Opening with the options is refused, in words that match. */
export async function refusedOpen(bench: Bench, options: object, words: RegExp): Promise<void> {
  expect((await failureOf(opened(bench, options))).message).to.match(words);
}

export async function created(bench: Bench, options: object): Promise<void> {
  await createNode(bench.graph, validate('BlockdevCreateOptions', options));
}

export async function refusedCreate(bench: Bench, options: object, words: RegExp): Promise<void> {
  expect((await failureOf(created(bench, options))).message).to.match(words);
}

/** A new qcow2 image in `PATH`. */
export async function createdQcow2(bench: Bench, own: object = {}): Promise<void> {
  await created(bench, { driver: 'file', filename: PATH, size: 0 });
  await created(bench, { driver: 'qcow2', file: file(), size: SIZE, ...own });
}

/** The same disk, seen by another program. */
export function another({ host, warnings }: Bench): Bench {
  return { host, warnings, graph: new Graph(host) };
}

/** What an action ends with: nothing, or the message of its error. */
export async function outcome(action: Promise<unknown>): Promise<string> {
  return action.then(
    () => '',
    (error: unknown) => toBlockError(error).message,
  );
}
