// Opens a damaged image to be salvaged. What the header refers to (a backing file, a data file) is opened where it can be, and what is in it is lost otherwise.

import type { Child } from '../../../block/child.js';
import { findSnapshot, snapshotCalled } from '../../../block/internal-snapshots.js';
import type { BlockNode } from '../../../block/node/node.js';
import type { OpenRequest, SalvageOrder } from '../../../block/registry.js';
import { ROLES } from '../../../block/roles.js';
import { BlockError, toBlockError } from '../../../util/errors.js';
import { ImageFile } from '../../image-file.js';
import { Extension, extensionText } from './header.js';
import { DATA_FILE } from './image-node.js';
import { areaOf, checkHints, type SalvagedHeader, salvageHeader } from './salvage-header.js';
import { findLayout, type Layout } from './salvage-layout.js';
import { surveyImage } from './salvage-load.js';
import { SalvagedNode } from './salvage-node.js';
import { readWhatCan } from './salvage-read.js';
import { readSnapshotTable, type Snapshot } from './snapshot-table.js';
import { MAX_L1_BYTES, makeGeometry } from './types.js';

const MAX_HEADER_BYTES = 2 << 20;

type Request = OpenRequest<'qcow2'>;

/** Rejects with `invalid-argument`, `unsupported`, `not-found` (the snapshot, the secret), `permission` (its password), `invalid-image` where there is nothing to begin with. */
export async function openSalvaged(request: Request, order: SalvageOrder): Promise<SalvagedNode> {
  checkHints(order.hints);
  const file = await request.openChild('file', null, 'image');
  const node = new SalvagedNode(request.graph, request.node, file, ROLES.image.permissions(request.use), order.log);
  try {
    await load(node, file, request, order);
  } catch (error) {
    node.abandon();
    throw error;
  }
  return node;
}

async function load(node: SalvagedNode, file: BlockNode, request: Request, order: SalvageOrder): Promise<void> {
  const { log, hints } = order;
  const link = node.primary!;
  const header = await readHeader(link, order);
  const hasContent = header.isExternal && (await openDataFile(node, file, header, request, order));
  if (header.isExternal && header.isRaw && hasContent && hints.snapshot === undefined) {
    const content = node.children.get(DATA_FILE)!;
    node.showRaw(content, hints.size ?? header.size ?? content.length);
    return;
  }
  const looked = (done: number): void => order.onSurvey(done, file.length);
  const snapshots = await readSnapshots(link, header, order);
  const layout = layoutOf(
    await findLayout(link, header, hints, log, looked, snapshots),
    pickSnapshot(snapshots, order, file),
    file,
  );
  const isBackingLost = await openBackingFile(node, header, request, order);
  await surveyImage(node, { header, layout, snapshots, isBackingLost }, request, order);
}

async function readHeader(link: Child, { log }: SalvageOrder): Promise<SalvagedHeader> {
  const head = new Uint8Array(Math.min(MAX_HEADER_BYTES, link.length));
  await readWhatCan(link, 0, head, () => undefined);
  const header = salvageHeader(head, log);
  if (!header.isFound)
    log.assumptions.push(
      'There is no qcow2 header: the tables are found by their shape, and read as those of version 3.',
    );
  return header;
}

/** The internal snapshots; none where their table cannot be read. */
async function readSnapshots(link: Child, header: SalvagedHeader, { log }: SalvageOrder): Promise<Snapshot[]> {
  const { offset, count } = header.snapshots;
  // At offset 0 there is the header, which can be read as a snapshot.
  if (count === 0 || offset === 0) return [];
  try {
    return await readSnapshotTable(new ImageFile(() => link), areaOf(header, header.extensions).header);
  } catch (error) {
    log.notes.push(`The table of internal snapshots cannot be read: ${toBlockError(error).reason}.`);
    return [];
  }
}

/** Throws `not-found`. */
function pickSnapshot(all: readonly Snapshot[], { hints }: SalvageOrder, file: BlockNode): Snapshot | null {
  const { snapshot: wanted } = hints;
  if (wanted === undefined) return null;
  const found = typeof wanted === 'string' ? snapshotCalled(all, wanted) : findSnapshot(all, wanted);
  if (found !== null) return found;
  const known = all.length === 0 ? 'none can be read' : `there are: ${all.map(({ name }) => `'${name}'`).join(', ')}`;
  throw BlockError.at(file.filename, 'not-found', `Can't find snapshot (${known})`, { operation: 'salvage' });
}

/** The layout of the disk, or of a snapshot in its place. */
function layoutOf(layout: Layout, snapshot: Snapshot | null, file: BlockNode): Layout {
  if (snapshot === null) return layout;
  const { l1Offset, l1Size, diskSize } = snapshot;
  const { l2Span, clusterSize } = makeGeometry(3, layout.clusterBits, 4, layout.extendedL2);
  if (
    l1Size > MAX_L1_BYTES / 8 ||
    diskSize > l1Size * l2Span ||
    l1Offset % clusterSize !== 0 ||
    l1Offset >= file.length
  ) {
    const reason = `The entry of snapshot '${snapshot.name}' is damaged: its L1 table cannot be found`;
    throw BlockError.at(file.filename, 'corrupt-image', reason, { operation: 'salvage' });
  }
  return { ...layout, l1Offset, entries: l1Size, size: diskSize };
}

/** Opens the file with the content; false where it cannot be. */
async function openDataFile(
  node: SalvagedNode,
  image: BlockNode,
  { extensions }: SalvagedHeader,
  request: Request,
  { log }: SalvageOrder,
): Promise<boolean> {
  try {
    const filename = extensionText(extensions, Extension.dataFile);
    const opened = await request.openChild(DATA_FILE, { image, filename, format: null }, 'data');
    if (opened === null) log.notes.push("The header does not name the data file: give it as 'data-file'.");
    else node.setChild(DATA_FILE, opened, 'data', ROLES.image.permissions(request.use));
    return opened !== null;
  } catch (error) {
    log.notes.push(`The data file is not there: ${toBlockError(error).message}.`);
    return false;
  }
}

/** Opens the backing file, if there is one; true where it is not read. */
async function openBackingFile(
  node: SalvagedNode,
  header: SalvagedHeader,
  request: Request,
  { log }: SalvageOrder,
): Promise<boolean> {
  node.backingFile = header.backingFile;
  node.backingFormat = header.backingFormat;
  const isNamed = header.backingFile !== null || header.lostBackingName;
  try {
    const reference = { image: node, filename: header.backingFile, format: header.backingFormat };
    const backing = await request.openChild('backing', reference, 'cow');
    if (backing === null) return isNamed;
    node.setChild('backing', backing, 'cow');
    return false;
  } catch (error) {
    const { reason, message, code } = toBlockError(error);
    if (code === 'loop' || code === 'cancelled') throw error;
    log.notes.push(`${reason === '' ? message : reason}.`);
    return true;
  }
}
