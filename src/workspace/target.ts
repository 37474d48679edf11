// The target of a mirror or a backup, as QMP's drive-mirror and drive-backup make it: created like the source, or an existing image.
//
//   sync full   an image of the source's size
//   sync top    an overlay of the source's backing file
//   sync none   an overlay of the source itself

import { backingNameFor, idOfFile } from '../block/backing-name.js';
import { backingOf } from '../block/chain.js';
import { checkCreateOptions, checkReplaceable, createImage, type ImageCreateOptions } from '../block/create.js';
import { pathOfName } from '../block/filename.js';
import type { Graph } from '../block/graph.js';
import { refuseSourceFile } from '../block/identity.js';
import type { NewFile } from '../block/new-file.js';
import type { BlockNode } from '../block/node/node.js';
import type { OpenOptions } from '../block/open.js';
import { hasBackingFiles } from '../block/registry.js';
import type { MirrorSyncMode } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';
import { giveBack, type ImageOpener, type ImageSource, newFileName, openTargetOf } from './open.js';

/** What the job says of the image to be made: these members take precedence over those that were asked for. */
export interface TargetMembers {
  size: number;
  'backing-file'?: string;
  'backing-fmt'?: string;
}

export interface TargetPlan {
  image: ImageSource;
  /** Format of the target; left out: that of an existing one is found out. */
  format?: string;
  /** Options of the image to be made; null: it exists. */
  create: ((members: TargetMembers) => ImageCreateOptions) | null;
  cache?: OpenOptions['cache'];
  /** Default: `openNode`. */
  open?: ImageOpener;
  /** Called as each step begins; the last call says what has failed where this fails. */
  onStage?: (stage: TargetStage) => void;
}

/** `overlay`: which backing file it gets; `create`: it is made; `open`: it is opened. */
export type TargetStage = 'overlay' | 'create' | 'open';

export interface OpenedTarget {
  node: BlockNode;
  /** The file that was made for it, which is removed again where the job cannot begin. */
  newFile: NewFile | null;
}

/** One job's target: what `source` is copied to. */
export interface TargetRequest {
  source: BlockNode;
  plan: TargetPlan;
  sync: MirrorSyncMode;
  /** Refuses an existing target, once it is open, that cannot be the source's. */
  check?: (target: BlockNode) => void;
}

/** A request whose target can be made, as far as that is known without making it. */
interface CheckedTarget extends TargetRequest {
  /** The image to be made; null: it exists. */
  toMake: { name: string; options: ImageCreateOptions } | null;
}

/**
 * Makes the targets where that is wanted, and opens them for writing. All that can be refused is refused before the first image is made, since
 * that may replace an existing one. Rejects with `locked` for a file of the source's own chain, for one file that two targets name, and for a
 * file in use, with `invalid-argument` for a format that has no backing files where one is needed, and as `createImage` and `openNode`; then
 * what was made is gone.
 */
export async function openTargets(graph: Graph, requests: readonly TargetRequest[]): Promise<OpenedTarget[]> {
  const checked: CheckedTarget[] = [];
  for (const request of requests) checked.push(await checkTarget(graph, request));
  if (checked.length > 1) await refuseSameFile(graph, checked);
  const opened = new Map<CheckedTarget, OpenedTarget>();
  const existing = checked.filter(({ toMake }) => toMake === null);
  const made = checked.filter(({ toMake }) => toMake !== null);
  try {
    for (const target of existing) {
      const one = await openTarget(graph, target);
      opened.set(target, one);
      target.check?.(one.node);
    }
    for (const { toMake } of made) if (toMake !== null) await checkReplaceable(graph, toMake.name);
    for (const target of made) opened.set(target, await openTarget(graph, target));
  } catch (error) {
    await giveBack(graph, [...opened.values()], error);
    throw error;
  }
  return checked.map((target) => opened.get(target) as OpenedTarget);
}

async function checkTarget(graph: Graph, request: TargetRequest): Promise<CheckedTarget> {
  const { source, plan, sync } = request;
  const { image, format, create, onStage } = plan;
  if (typeof image === 'string') await refuseSourceFile(source, await idOfFile(graph.host, image), image);
  if (create === null) return { ...request, toMake: null };
  const name = newFileName(image);
  onStage?.('overlay');
  const base = sync === 'top' ? backingOf(source) : sync === 'none' ? source : null;
  if (base !== null && format !== undefined && !hasBackingFiles(format)) {
    throw new BlockError(
      'invalid-argument',
      `sync '${sync}' needs a target format with backing files, not '${format}'`,
    );
  }
  const above = base === null ? {} : { 'backing-file': await backingNameFor(name, base), 'backing-fmt': base.driver };
  onStage?.('create');
  const options = create({ size: source.length, ...above });
  checkCreateOptions(options, pathOfName(name), graph.host);
  return { ...request, toMake: { name, options } };
}

/** Two jobs cannot write to one file, however it is spelled. */
async function refuseSameFile(graph: Graph, targets: readonly CheckedTarget[]): Promise<void> {
  const seen = new Set<string>();
  for (const { plan } of targets) {
    if (typeof plan.image !== 'string') continue;
    const id = (await idOfFile(graph.host, plan.image)) ?? `name ${plan.image}`;
    if (seen.has(id)) {
      throw new BlockError('locked', `'${plan.image}' is the target of two jobs`, {
        path: plan.image,
        operation: 'open',
      });
    }
    seen.add(id);
  }
}

async function openTarget(graph: Graph, { source, plan, sync, toMake }: CheckedTarget): Promise<OpenedTarget> {
  const { format, cache, onStage } = plan;
  let newFile: NewFile | null = null;
  if (toMake !== null) {
    onStage?.('create');
    ({ newFile } = await createImage(graph, toMake.name, toMake.options));
  }
  onStage?.('open');
  const how = { format, cache, backing: sync !== 'none' };
  const node = await openTargetOf(source, { image: plan.image, newFile, open: plan.open }, how);
  return { node, newFile };
}
