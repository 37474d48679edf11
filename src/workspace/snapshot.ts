// External snapshots of open images: each overlay is created (or an existing one opened) by its file name, and all are put in place at one
// moment (block/snapshot.ts).

import { backingFormatFor, backingNameFor } from '../block/backing-name.js';
import { chainOf, MAX_CHAIN_DEPTH } from '../block/chain.js';
import { checkReplaceable, createImage, type ImageCreateOptions } from '../block/create.js';
import { pathOfName } from '../block/filename.js';
import type { Graph } from '../block/graph.js';
import { type NewFile, removeNewFile, undoCreation } from '../block/new-file.js';
import type { BlockNode } from '../block/node/node.js';
import { checkNodeName } from '../block/node-settings.js';
import { openNode } from '../block/open.js';
import { defaultDriver, knownDriver, unknownFormat } from '../block/registry.js';
import { appendOverlays, checkFree, type OverlayPair, type Undo } from '../block/snapshot.js';
import type { BlockdevSnapshotSync } from '../schema/generated/types.js';
import { bestEffort, orElse } from '../util/best-effort.js';
import { BlockError } from '../util/errors.js';

/** As in QMP's `blockdev-snapshot-sync`, with the node itself. */
export interface SnapshotRequest extends Omit<BlockdevSnapshotSync, 'device' | 'node-name'> {
  node: BlockNode;
}

interface OpenedOverlay extends OverlayPair {
  /** The file that was created for it; null where the file existed. */
  madeFile: NewFile | null;
}

/**
 * Creates (or opens, by `mode`) an overlay for each request and puts all in place in one drained section. A node that is named twice gets two
 * overlays, one on the other. Resolves with the nodes of the overlays. Rejects with `busy` (a job works on the node, or it is a backing node),
 * `invalid-argument`, `exists` (node name), `locked`, `no-space`, `io`, ...: then the graph is unchanged and the files that were created are
 * removed; only an existing file that was to be replaced may be empty.
 */
export async function takeSnapshots(graph: Graph, requests: readonly SnapshotRequest[]): Promise<BlockNode[]> {
  return (await tryTakeSnapshots(graph, requests)).overlays;
}

/** Snapshots that can be taken back, as long as nothing else has changed: the files that were created go, too. */
export interface TakenSnapshots {
  overlays: BlockNode[];
  undo: Undo;
}

/** As `takeSnapshots`, for a caller who may have to take them back. */
export async function tryTakeSnapshots(graph: Graph, requests: readonly SnapshotRequest[]): Promise<TakenSnapshots> {
  for (const request of requests) checkRequest(graph, request);
  // Drained, so that no node is resized after its overlay got its size.
  const nodes = requests.map(({ node }) => node);
  return graph.drained(nodes, () => takeAll(graph, requests));
}

async function takeAll(graph: Graph, requests: readonly SnapshotRequest[]): Promise<TakenSnapshots> {
  for (const request of requests) checkRequest(graph, request);
  refuseSameName(requests);
  // Everything that can be checked is checked before the first existing file is replaced.
  await refuseSameFile(graph, requests);
  const opened: OpenedOverlay[] = [];
  try {
    for (const request of requests) opened.push(await openOverlay(graph, request, opened));
    const putBack = await appendOverlays(graph, opened);
    const undo = async () => {
      await putBack();
      await discard(graph, opened);
    };
    return { overlays: opened.map(({ overlay }) => overlay), undo };
  } catch (error) {
    await discard(graph, opened);
    throw error;
  }
}

/** Closes overlays that are not in place, and removes the files that were created for them. */
async function discard(graph: Graph, opened: OpenedOverlay[]): Promise<void> {
  for (const { overlay, madeFile } of opened.reverse()) {
    // Best effort: the caller has to get the error that prevented the snapshot.
    await graph.release(overlay).catch(bestEffort('undoing a snapshot'));
    if (madeFile !== null && overlay.closed) await removeNewFile(graph.host, madeFile);
  }
}

function checkRequest(graph: Graph, request: SnapshotRequest): void {
  const { node, 'snapshot-node-name': name } = request;
  const format = formatOf(request);
  checkFree(node);
  if (name !== undefined && graph.nodes.has(name)) {
    throw new BlockError('exists', 'New overlay node-name already in use');
  }
  const definition = knownDriver(format);
  if (definition === null || definition.kind === 'protocol') throw unknownFormat(format);
  if (definition.hasBacking !== true) {
    throw new BlockError('invalid-argument', `Backing file not supported for file format '${format}'`);
  }
  if (name !== undefined) checkNodeName(name);
  if (chainOf(node).length >= MAX_CHAIN_DEPTH) {
    throw new BlockError('limit', `Backing chain of more than ${MAX_CHAIN_DEPTH} images`, { path: node.filename });
  }
}

function formatOf({ format }: SnapshotRequest): string {
  return format ?? defaultDriver('overlay').name;
}

/** Throws `exists` where two overlays have one node name. */
function refuseSameName(requests: readonly SnapshotRequest[]): void {
  const seen = new Set<string>();
  for (const { 'snapshot-node-name': name } of requests) {
    if (name === undefined) continue;
    if (seen.has(name)) throw new BlockError('exists', `Duplicate nodes with node-name='${name}'`);
    seen.add(name);
  }
}

/** Rejects with `locked` where two overlays name one file, or one names a file that a node or another process uses. */
async function refuseSameFile(graph: Graph, requests: readonly SnapshotRequest[]): Promise<void> {
  const seen = new Set<string>();
  for (const { 'snapshot-file': name, mode = 'absolute-paths' } of requests) {
    if (mode === 'absolute-paths') await checkReplaceable(graph, name);
    const path = pathOfName(name);
    const existing = await graph.host.stat(path).catch(orElse('snapshot', null));
    if (existing === null) continue;
    if (seen.has(existing.id)) {
      throw BlockError.at(path, 'locked', 'Failed to get "write" lock: two overlays name the file', {
        operation: 'create',
      });
    }
    seen.add(existing.id);
  }
}

async function openOverlay(
  graph: Graph,
  request: SnapshotRequest,
  before: readonly OverlayPair[],
): Promise<OpenedOverlay> {
  const { 'snapshot-file': name, mode = 'absolute-paths' } = request;
  const format = formatOf(request);
  let { node } = request;
  for (const earlier of before) if (earlier.node === node) node = earlier.overlay;
  const madeFile = mode === 'absolute-paths' ? await makeFile(graph, name, format, node) : null;
  try {
    const overlay = await openNode(graph, name, {
      format,
      nodeName: request['snapshot-node-name'],
      readOnly: node.readOnly,
      discard: node.discardMode,
      detectZeroes: node.detectZeroes,
      cache: { direct: node.hostFile()?.direct },
      backing: false,
    });
    return { node, overlay, madeFile };
  } catch (error) {
    await undoCreation(graph.host, madeFile, error);
    throw error;
  }
}

/** Creates an image with the backing file `base`. Resolves with the new file, or with null where the file existed. */
async function makeFile(graph: Graph, name: string, format: string, base: BlockNode): Promise<NewFile | null> {
  const options = {
    driver: format,
    size: base.length,
    'backing-file': await backingNameFor(name, base),
    'backing-fmt': backingFormatFor(base),
  } as ImageCreateOptions;
  return (await createImage(graph, name, options)).newFile;
}
