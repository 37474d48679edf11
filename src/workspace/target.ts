// Opens the target of a mirror or a backup, as QMP's drive-mirror and drive-backup do: a new image, or an existing one. A new one is, by `sync`:
//
//   sync full   an image of the source's size
//   sync top    an overlay of the source's backing file
//   sync none   an overlay of the source itself

import { backingFormatFor, backingNameFor, idOfFile } from '../block/backing-name.js';
import { backingOf, skipFilters } from '../block/chain.js';
import {
  checkCreatable,
  checkCreateOptions,
  checkReplaceable,
  createImage,
  type ImageCreateOptions,
  type MadeImage,
  type NewFileOptions,
} from '../block/create.js';
import { pathOfName } from '../block/filename.js';
import type { Graph } from '../block/graph.js';
import { refuseSourceFile } from '../block/identity.js';
import type { NewFile } from '../block/new-file.js';
import type { BlockNode } from '../block/node/node.js';
import type { OpenOptions } from '../block/open.js';
import { hasBackingFiles, knownDriver } from '../block/registry.js';
import type { MirrorSyncMode, NewImageMode } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';
import { type ImageOpener, type ImageSource, newFileName, openTargetOf, undoOpening } from './open.js';

/** Members of the create options that the job determines. */
export interface TargetMembers {
  size: number;
  'backing-file'?: string;
  'backing-fmt'?: string;
}

/** Their names: a caller's options of a new target that has one of them are refused. */
export const MEMBERS_OF_THE_JOB = [
  'size',
  'backing-file',
  'backing-fmt',
] as const satisfies readonly (keyof TargetMembers)[];

export interface TargetPlan {
  image: ImageSource;
  /** Format of the target; left out: the format of an existing target is probed. */
  format?: string;
  /** Returns the options of the image to be created; null: the target exists. */
  create: ((members: TargetMembers) => ImageCreateOptions) | null;
  /** How the files of a new target are made. */
  fileOptions?: NewFileOptions;
  cache?: OpenOptions['cache'];
  /** Of the target's node. */
  nodeName?: string;
  /** Default: `openNode`. */
  open?: ImageOpener;
  /** Called as each step begins. Where opening the target fails, the last call has named the step that failed. */
  onStage?: (stage: TargetStage) => void;
}

/** `overlay`: the backing file is determined; `create`: the image is created; `open`: it is opened. */
export type TargetStage = 'overlay' | 'create' | 'open';

export interface OpenedTarget {
  node: BlockNode;
  /** The file that was created for it, which is removed again where the job cannot start. */
  newFile: NewFile | null;
}

/** A request for the target of one job, which copies `source`. */
export interface TargetRequest {
  source: BlockNode;
  plan: TargetPlan;
  sync: MirrorSyncMode;
  /** Called with an existing target when it is open; throws where it is not suitable for the source. */
  check?: (target: BlockNode) => void;
}

/** A request that passed all checks that are possible before its target is created. */
interface CheckedTarget extends TargetRequest {
  /** The image to be created; null: it exists. */
  toMake: { name: string; options: ImageCreateOptions } | null;
}

/**
 * Creates the targets that do not exist, and opens all for writing. Everything that can be checked is checked before the first image is created,
 * since that may replace an existing file. Rejects with `locked` for a file of the source's own chain, for one file that two targets name, and
 * for a file in use, with `invalid-argument` for a format without backing files where one is needed, and as `createImage` and `openNode`; then
 * the files that were created are removed.
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
    await undoOpening(graph, [...opened.values()], error);
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
  if (format !== undefined) checkCreatable(format);
  if (base !== null && format !== undefined && !hasBackingFiles(format)) {
    throw new BlockError('invalid-argument', `Backing file not supported for file format '${format}'`);
  }
  const above =
    base === null ? {} : { 'backing-file': await backingNameFor(name, base), 'backing-fmt': backingFormatFor(base) };
  onStage?.('create');
  const options = create({ size: source.length, ...above });
  checkCreateOptions(options, pathOfName(name), graph);
  return { ...request, toMake: { name, options } };
}

/** Rejects with `locked` where two targets are one file, however its name is spelled. */
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
  const { format, cache, nodeName, onStage } = plan;
  let made: MadeImage | null = null;
  if (toMake !== null) {
    onStage?.('create');
    made = await createImage(graph, toMake.name, toMake.options, plan.fileOptions);
  }
  onStage?.('open');
  const how = { format, cache, nodeName, backing: sync !== 'none' };
  const node = await openTargetOf(graph, source, { image: plan.image, made, open: plan.open }, how);
  return { node, newFile: made?.newFile ?? null };
}

/** A target as QMP's drive-mirror and drive-backup name it. */
export interface DriveTarget {
  target: string;
  format?: string;
  mode?: NewImageMode;
  'node-name'?: string;
}

/** The plan for it: a new image has the format of `source`, unless another one is given. Throws `invalid-argument`. */
export function planOfDrive(source: BlockNode, wanted: DriveTarget): TargetPlan {
  const { target: image, mode = 'absolute-paths', format: given, 'node-name': nodeName } = wanted;
  if (given !== undefined && knownDriver(given) === null) {
    const what = mode === 'existing' ? 'driver' : 'file format';
    throw new BlockError('invalid-argument', `Unknown ${what} '${given}'`);
  }
  if (mode === 'existing') return { image, format: given, create: null, nodeName };
  const format = given ?? skipFilters(source).driver;
  const create = (members: TargetMembers) => ({ driver: format, ...members }) as ImageCreateOptions;
  return { image, format, create, nodeName };
}
