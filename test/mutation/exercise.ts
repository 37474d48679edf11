// Everything that a user may do with an image, done with a mutant. Each action ends with a result or with one clear error.

import { expect } from 'chai';
import type { CheckResult } from '../../src/block/abilities.js';
import type { Graph } from '../../src/block/graph.js';
import { mapEntries } from '../../src/block/map.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import type { SimHost } from '../../src/host/sim/index.js';
import type { ImageOptions } from '../../src/schema/options.js';
import { BlockError } from '../../src/util/errors.js';
import { addStoredBitmap, removeStoredBitmap } from '../../src/workspace/bitmap.js';
import { checkImage, repairImage } from '../../src/workspace/check.js';
import { imageInfos } from '../../src/workspace/info.js';
import { readNode } from '../drivers/support.js';
import type { MutantKind } from '../formats/fixture.js';
import { DATA, IMAGE } from './images.js';

/** Of a disk that a mutation made huge, so much is read. */
const SAMPLE_BYTES = 256 << 10;
const TIME_LIMIT_MS = 1000;
/** A step of less time is not measured exactly. */
const QUICK_MS = 25;
const MAX_ENTRIES = 5000;

/** What became of a mutant. */
export interface Outcome {
  opened: boolean;
  repaired: boolean;
  /** Milliseconds of processor time of the slowest action (with the quick ones before it): how much else the machine does makes no difference. */
  slowestMs: number;
}

/** Does one thing that a user may do; it may fail. Rejects where it takes too long. */
type Step = (name: string, action: () => Promise<void>) => Promise<void>;

/** What is done with a mutant, beside looking at it. */
export interface Actions {
  writes: boolean;
  repairs: boolean;
}

/** Rejects with what is no fair answer. */
export async function exercise(
  host: SimHost,
  graph: Graph,
  { options, data, descriptor }: Pick<MutantKind, 'options' | 'data' | 'descriptor'>,
  { writes, repairs }: Actions,
): Promise<Outcome> {
  const outcome: Outcome = { opened: false, repaired: false, slowestMs: 0 };
  let used = usedMs();
  const step: Step = async (name, action) => {
    const begun = performance.now();
    await tolerate(action);
    // The processor time is dear to ask for, and no more than the time that has passed.
    if (performance.now() - begun < QUICK_MS) return;
    const before = used;
    used = usedMs();
    const ms = used - before;
    if (ms >= TIME_LIMIT_MS) expect.fail(`${name}: ${ms} milliseconds`);
    outcome.slowestMs = Math.max(outcome.slowestMs, ms);
  };
  const use = async (readOnly: boolean, action: (node: BlockNode) => Promise<void>): Promise<void> => {
    let opened: BlockNode | null = null;
    await step('open', async () => {
      opened = await openNode(graph, options, { readOnly });
      outcome.opened = true;
    });
    if (opened === null) return;
    const node: BlockNode = opened;
    await action(node);
    await step('close', () => graph.release(node));
  };
  const named = [IMAGE, ...(data ? [DATA] : []), ...(descriptor === undefined ? [] : [descriptor])];
  await step('info', () => info(host, graph, options, named));
  await use(true, (node) => step('read, map', () => look(node)));
  await step('check', async () => void (await checkImage(graph, options, {}, () => undefined)));
  await step('check of data', async () => {
    await checkImage(graph, options, {}, () => undefined, undefined, 'checkData');
  });
  if (writes) await use(false, (node) => write(node, step));
  if (!repairs) return outcome;
  await step('repair', async () => {
    const { result } = await repairImage(graph, options, 'all', {}, () => undefined);
    outcome.repaired = true;
    expect(faultsOf(result.after), 'after a repair').to.deep.equal([0, 0, 0]);
  });
  if (!outcome.repaired) return outcome;
  await step('check after repair', async () => {
    const { result } = await checkImage(graph, options, {}, () => undefined);
    expect(faultsOf(result), 'in a check after a repair').to.deep.equal([0, 0, 0]);
  });
  return outcome;
}

function faultsOf({ checkErrors, corruptions, leaks }: CheckResult): number[] {
  return [checkErrors, corruptions, leaks];
}

function usedMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

async function look(node: BlockNode): Promise<void> {
  await sample(node);
  let entries = 0;
  for await (const _ of mapEntries(node, 0, node.length)) if (++entries > MAX_ENTRIES) break;
}

/** Nothing but the files that were named is opened. */
async function info(host: SimHost, graph: Graph, options: ImageOptions, named: readonly string[]): Promise<void> {
  const before = host.log.length;
  try {
    await imageInfos(graph, options, {}, false);
  } finally {
    for (let at = before; at < host.log.length; at++) {
      const { operation, path } = host.log[at];
      if (operation === 'open' && !named.includes(path)) expect.fail(`info opened ${path}`);
    }
  }
}

/** Writes, and changes what the image keeps beside the disk. */
async function write(node: BlockNode, step: Step): Promise<void> {
  const data = Buffer.alloc(10_000, 0x5a);
  await step('write', () => node.write(Math.max(0, Math.min(node.length, 70_000) - data.length), data));
  await step('write zeroes', () => node.writeZeroes(0, Math.min(node.length, 4096)));
  await step('discard', () => node.discard(0, Math.min(node.length, 1 << 20)));
  await step('flush', () => node.flush());
  await snapshots(node, step);
  await bitmaps(node, step);
}

async function sample(node: BlockNode): Promise<void> {
  const buffer = Buffer.alloc(Math.min(node.length, SAMPLE_BYTES));
  await tolerate(() => readNode(node, 0, buffer));
  if (node.length > buffer.length) await tolerate(() => readNode(node, node.length - buffer.length, buffer));
}

async function snapshots(node: BlockNode, step: Step): Promise<void> {
  const { snapshots: desk } = node.abilities;
  if (desk === undefined) return;
  const list = desk.list();
  for (const { id } of list.slice(0, 2)) await step('apply a snapshot', () => desk.apply(id));
  if (list.length > 0) await step('delete a snapshot', () => desk.remove(list[0].id));
  await step('create a snapshot', async () => void (await desk.create({ name: 'mutant' })));
}

/** They were loaded when the image was opened. */
async function bitmaps(node: BlockNode, step: Step): Promise<void> {
  for (const [name, bitmap] of [...node.bitmaps].slice(0, 2)) {
    let at = bitmap.nextDirty(0);
    for (let ranges = 0; at >= 0 && ranges < MAX_ENTRIES; ranges++) {
      const clean = bitmap.nextZero(at);
      at = clean < 0 ? -1 : bitmap.nextDirty(clean);
    }
    if (bitmap.persistent && bitmap.inconsistent) await step('remove a bitmap', () => removeStoredBitmap(node, name));
  }
  await step('add a bitmap', async () => void (await addStoredBitmap(node, 'mutant', { persistent: true })));
}

/** A `BlockError` is a fair answer to a broken image; our own mistake is not. */
export async function tolerate(action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof BlockError) || error.code === 'internal') throw error;
    expect(error.message).to.match(/\S/);
    expect(error.message.length).to.be.below(2000);
  }
}
