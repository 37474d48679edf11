// What a node is stored in, by device and inode and not by how it is spelled: two nodes with one identity share every byte.

import type { FileInfo, Host, HostFile } from '../host/host.js';
import { orElse } from '../util/best-effort.js';
import { BlockError, toBlockError } from '../util/errors.js';
import { chainOf, fileOf, imagesRead, storageOf } from './chain.js';
import type { Graph } from './graph.js';
import type { BlockNode } from './node/node.js';
import { ProtocolNode } from './node/protocol.js';

/** An open file keeps its device and inode: a command that has a thousand files open asks the kernel once for each. */
const KNOWN = new WeakMap<HostFile, string>();

async function idOfOpen(file: HostFile): Promise<string> {
  const known = KNOWN.get(file);
  if (known !== undefined) return known;
  const { id } = await file.info();
  KNOWN.set(file, id);
  return id;
}

/**
 * Device and inode of the file that `node` is stored in, the number of a block device, the socket and name of an export (a TCP one: its
 * URI); null where there is none of these.
 */
export async function fileId(node: BlockNode): Promise<string | null> {
  const bottom = storageOf(node);
  const file: HostFile | null = bottom.hostFile();
  if (file !== null) return idOfOpen(file);
  return bottom instanceof ProtocolNode ? bottom.storageId() : null;
}

/** `fileId` of everything that `node` itself is stored in: of its file, and of one that its content lies in apart. */
export async function fileIds(node: BlockNode): Promise<string[]> {
  const own = [...node.children.values()].filter(({ role }) => !role.cow);
  if (own.length > 0) return (await Promise.all(own.map((link) => fileIds(link.node)))).flat();
  const id = await fileId(node);
  return id === null ? [] : [id];
}

/**
 * Refuses with `locked` to write over `file`, which was opened just now, where a node of the graph (but `own` and what that lies on) is stored in it, or where
 * the program has it open for something else. Image locks say it too, but may be off, shared, or not to be had.
 */
export async function refuseUsed(graph: Graph, file: FileInfo & { path: string }, own?: BlockNode): Promise<void> {
  refuseReserved(graph, file);
  await refuseNodeOf(graph, file.id, file.path, own);
}

/** The same for a node over anything. */
export async function refuseUsedNode(graph: Graph, node: BlockNode): Promise<void> {
  const id = await fileId(node);
  if (id !== null) await refuseNodeOf(graph, id, node.filename, node);
}

/** The same of what has no node yet, by its `ProtocolNode.storageId`. */
export function refuseUsedStorage(graph: Graph, id: string, path: string): Promise<void> {
  return refuseNodeOf(graph, id, path);
}

async function refuseNodeOf(graph: Graph, id: string, path: string, own?: BlockNode): Promise<void> {
  const others = [...graph.nodes.values()].filter(
    (node) => own?.reaches(node) !== true && !node.closed && fileOf(node) === null,
  );
  const ids = await Promise.all(others.map(fileId));
  for (const [index, node] of others.entries()) {
    if (ids[index] !== id) continue;
    throw new BlockError('locked', `Failed to get "write" lock\n${isOpen(path, node)}`, { path, operation: 'create' });
  }
}

function isOpen(path: string, { filename }: BlockNode): string {
  return `This program has '${path}' open already${filename === path ? '' : `, as '${filename}'`}`;
}

/**
 * What a program is told where `error` ended one of its calls. An image lock that could not be had is asked of another process in QEMU's words; where
 * a node of this graph is stored in the file, the error says that this program itself has it open, and, with
 * `advice`, what can be done about it. Any other error is returned as it is.
 */
export async function withLockHolder(graph: Graph, error: unknown, advice = true): Promise<unknown> {
  if (!(error instanceof BlockError) || error.code !== 'locked' || error.operation !== 'lock') return error;
  const { path, reason } = error;
  if (path === undefined) return error;
  const id = await graph.host.stat(path).then((info) => info.id, orElse('looking who has locked a file', null));
  const holders = [...graph.nodes.values()].filter((node) => !node.closed && fileOf(node) === null);
  for (const node of id === null ? [] : holders) {
    if ((await fileId(node).catch(orElse('looking who has locked a file', null))) !== id) continue;
    const [lock] = reason.split('\n');
    // Who asks that nobody else writes wants to read, as a rule; QEMU's words for that lock are `shared "write" lock`.
    const mayShare = advice && lock.includes('shared');
    const wayOut = mayShare ? ": close it, or read it with 'forceShare'" : '';
    return new BlockError('locked', `${lock}\n${isOpen(path, node)}${wayOut}`, {
      path,
      operation: 'lock',
      cause: error,
    });
  }
  return error;
}

/** Refuses with `locked` to open as an image what the program writes its own words to, or reads by itself (standard output sent to the image's file). */
export function refuseReserved(graph: Graph, { id, path }: { id: string; path: string }): void {
  const reserved = graph.reserved.get(id);
  if (reserved === undefined) return;
  reserved.refused();
  throw BlockError.at(path, 'locked', `${reserved.what} this file`, { operation: 'open' });
}

/**
 * Refuses with `locked` a target whose own file is a file of the source: of the image itself, or of one of its backing files. The
 * backing files of the target are only read, and may be the source's.
 */
export async function refuseSameStorage(source: BlockNode, target: BlockNode): Promise<void> {
  for (const id of await fileIds(target)) await refuseSourceFile(source, id, target.filename);
}

/** The same of a target that is still to be opened, or made: `id` is that of the file `name`, null where there is none. */
export async function refuseSourceFile(source: BlockNode, id: string | null, name: string): Promise<void> {
  if (id === null) return;
  for (const node of chainOf(source)) {
    if (!(await fileIds(node)).includes(id)) continue;
    const what =
      node === source
        ? `the source '${node.filename}' itself`
        : `'${node.filename}', which is in the backing chain of the source '${source.filename}'`;
    throw new BlockError('locked', `The target '${name}' is ${what}`, { path: name, operation: 'open' });
  }
}

/** The same of a file that was opened just now. */
export async function refuseFileOf(
  sources: readonly BlockNode[],
  file: BlockNode,
  name: string = file.filename,
): Promise<void> {
  const own = await fileId(file);
  if (own === null) return;
  for (const source of sources) {
    for (const node of imagesRead(source)) {
      if (!(await fileIds(node)).includes(own)) continue;
      throw new BlockError('locked', `Failed to get "write" lock\n${isOpen(name, node)}`, {
        path: name,
        operation: 'open',
      });
    }
  }
}

/** Null: there is no such file. Rejects with what else keeps it from being found. */
export function statOrNull(host: Host, path: string): Promise<FileInfo | null> {
  return host.stat(path).catch((error: unknown) => {
    if (toBlockError(error).code === 'not-found') return null;
    throw error;
  });
}
