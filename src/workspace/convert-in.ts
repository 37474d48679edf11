// Makes an image of bytes that come in order, from standard input or a pipe: raw, and of a size that is known when they end. A target that is there already, or whose size is
// given, does not grow. All that can be refused is refused before the target is touched.

import { withLink } from '../block/child.js';
import { checkCreateOptions, createImage, type ImageCreateOptions, type NewFileOptions } from '../block/create.js';
import type { Graph } from '../block/graph.js';
import type { BlockNode } from '../block/node/node.js';
import type { OpenOptions } from '../block/open.js';
import { probeFormat } from '../block/probe.js';
import { defaultDriver, findDriver } from '../block/registry.js';
import { PERM_ALL, Perm } from '../block/types.js';
import type { ByteSource } from '../host/byte-stream.js';
import { type ConvertInOptions, convertIn } from '../jobs/convert-in.js';
import { sparseStep } from '../jobs/sparse.js';
import { refuseAborted } from '../util/abort.js';
import { bestEffort } from '../util/best-effort.js';
import { BlockError } from '../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../util/numbers.js';
import { type ImageOpener, openTargetOf } from './open.js';

/** Bytes of one read: a multiple of every cluster. */
const CHUNK_BYTES = 2 << 20;

export interface ConvertInPlan extends ConvertInOptions {
  /** The bytes are raw, whatever they look like. Otherwise bytes that look like another format are refused. */
  isRaw: boolean;
  target: string;
  /** Returns the options of the image to be made; null: the target exists. */
  create: ((size: number) => ImageCreateOptions) | null;
  /** Bytes of the new image, where that is to have a certain size. */
  size?: number;
  format?: string;
  fileOptions?: NewFileOptions;
  cache?: OpenOptions['cache'];
  open?: ImageOpener;
  /** `create`: the target is made; `copy`: it is written. */
  onStage?: (stage: 'create' | 'copy') => void;
}

/** What an image of a stream is made with. */
export interface StreamTarget {
  /** Undefined: the image is there already. */
  driver?: string;
  size?: unknown;
  preallocation?: string;
  'backing-file'?: string;
}

/**
 * Refuses options for an image whose bytes come in order; `sizeOption` is the name of the option that gives it a size. Throws `unsupported` for an overlay, and where a
 * format needs a size that is not given; `invalid-argument` for preallocation without one.
 */
export function checkStreamTarget(made: StreamTarget, sizeOption: string): void {
  const { driver, size, preallocation = 'off', 'backing-file': backing } = made;
  if (size === undefined && preallocation !== 'off') {
    const text = `Preallocation needs a size, which a stream does not have: give it with ${sizeOption}`;
    throw new BlockError('invalid-argument', text);
  }
  if (backing !== undefined) throw new BlockError('unsupported', 'A stream cannot become an overlay');
  if (size !== undefined || driver === undefined || findDriver(driver).resizes === true) return;
  const text = `Images of the format '${driver}' do not grow with a stream: give the size with ${sizeOption}`;
  throw new BlockError('unsupported', text);
}

/**
 * Rejects with `unsupported` for bytes of another format than raw and with `invalid-argument` where none come, before the target is touched, with `no-space` where more come than the target has room for, with
 * `cancelled` after an abort, and with what either side fails with; the target is incomplete then.
 */
export async function streamIntoImage(graph: Graph, plan: ConvertInPlan): Promise<void> {
  const { source, signal } = plan;
  const { memory } = graph.host;
  const stop = (): void => source.stop();
  signal?.addEventListener('abort', stop);
  const chunkBytes = Math.max(CHUNK_BYTES, sparseStep(plan.sparseSize));
  const buffers = [memory.allocate(chunkBytes), memory.allocate(chunkBytes)];
  try {
    const first = await source.read(buffers[0]);
    refuseAborted(signal);
    refuseEmpty(source, first);
    refuseOther(plan, buffers[0].subarray(0, Math.min(first, SECTOR_BYTES)));
    plan.onStage?.('create');
    const node = await openTarget(graph, plan, roundUp(first, SECTOR_BYTES));
    try {
      plan.onStage?.('copy');
      const use = { user: { userName: 'convert' }, role: 'target', shared: PERM_ALL } as const;
      const perm = Perm.CONSISTENT_READ | Perm.WRITE | (plan.create === null ? 0 : Perm.RESIZE);
      const isNew = plan.create !== null;
      const grows = isNew && plan.size === undefined;
      await withLink(node, { ...use, perm }, (link) => convertIn(plan, { link, isNew, grows }, buffers, first));
    } catch (error) {
      await graph.release(node).catch(bestEffort('closing after a failure'));
      throw error;
    }
    await graph.release(node);
  } catch (error) {
    refuseAborted(signal);
    throw error;
  } finally {
    signal?.removeEventListener('abort', stop);
    for (const buffer of buffers) memory.free(buffer);
  }
}

/** Nothing at all comes from a program that has failed, or from a stream that was closed: an image that is there is not replaced for that. */
function refuseEmpty({ name }: ByteSource, bytes: number): void {
  if (bytes > 0) return;
  throw new BlockError('invalid-argument', `no bytes come from ${name}`, { path: name, operation: 'read' });
}

function refuseOther({ isRaw, source }: ConvertInPlan, head: Uint8Array): void {
  if (isRaw) return;
  const format = probeFormat(head, source.name);
  if (format === defaultDriver('window').name) return;
  throw new BlockError(
    'unsupported',
    `${source.name} has an image of the format '${format}', which cannot be read in order: save it to a file first`,
    { path: source.name, operation: 'open' },
  );
}

async function openTarget(graph: Graph, plan: ConvertInPlan, known: number): Promise<BlockNode> {
  const { target, create, size = known, format, fileOptions, cache, open } = plan;
  const made =
    create === null
      ? null
      : await createImage(graph, target, checkCreateOptions(create(size), target, graph), fileOptions);
  return openTargetOf(graph, null, { image: target, made, open }, { format, cache });
}
