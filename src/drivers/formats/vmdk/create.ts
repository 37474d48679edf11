// Makes a VMDK image: sparse or flat, in one file, or in extents of 2 GiB beside a descriptor.

import { basename, dirname, extname } from 'node:path';
import { referrerToBe } from '../../../block/backing-name.js';
import type { Child } from '../../../block/child.js';
import { makeRoom, removeContent } from '../../../block/create.js';
import { type CreateOptions, SIZE_OPTION } from '../../../block/create-option.js';
import { isPath, resolveBackingName } from '../../../block/filename.js';
import type { MeasureRequest } from '../../../block/measure.js';
import { openNode } from '../../../block/open.js';
import type { CreateRequest } from '../../../block/registry.js';
import type { BlockdevVmdkSubformat, BlockMeasureInfo } from '../../../schema/generated/types.js';
import { missingChild } from '../../../schema/loose-options.js';
import { BlockError } from '../../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { newContentId } from './cid.js';
import { EMBEDDED_BYTES, type ExtentLine, encodeDescriptor, fitsQuotes, NO_PARENT } from './descriptor.js';
import { VmdkNode } from './driver.js';
import { mostPackedBytes } from './grain-packer.js';
import { ENTRY_BYTES, encodeHeader, GRAIN_BYTES, layoutOf, type NewExtent, type SparseLayout } from './header.js';

type VmdkCreateOptions = CreateRequest<'vmdk'>['options'];

const EXTENT_BYTES = 2 ** 31;
const MAX_SPARSE_BYTES = 2 ** 46;
const STEP_BYTES = 1 << 20;
const DEFAULT_HW_VERSION = '4';
const DEFAULT_TOOLS_VERSION = '2147483647';
const EXTENTS = 'extents';

interface Kind {
  isFlat: boolean;
  isSplit: boolean;
  /** In the name of an extent's file, before its number. */
  letter: string;
  isCompressed?: true;
}

const KINDS: Readonly<Record<BlockdevVmdkSubformat, Kind>> = {
  monolithicSparse: { isFlat: false, isSplit: false, letter: '' },
  monolithicFlat: { isFlat: true, isSplit: false, letter: 'flat' },
  twoGbMaxExtentSparse: { isFlat: false, isSplit: true, letter: 's' },
  twoGbMaxExtentFlat: { isFlat: true, isSplit: true, letter: 'f' },
  streamOptimized: { isFlat: false, isSplit: false, letter: '', isCompressed: true },
};

export const VMDK_CREATE_OPTIONS: CreateOptions = {
  options: [
    {
      name: 'adapter_type',
      kind: 'str',
      help: 'Virtual adapter type, can be one of ide (default), lsilogic, buslogic or legacyESX',
      member: 'adapter-type',
    },
    { name: 'backing_file', kind: 'str', help: 'File name of a base image', member: 'backing-file' },
    { name: 'backing_fmt', kind: 'str', help: "Must be 'vmdk' if present", member: 'backing-fmt' },
    {
      name: 'compat6',
      kind: 'bool (on/off)',
      help: 'VMDK version 6 image',
      member: 'hwversion',
      values: { on: '6' },
      aliasOf: 'hwversion',
      aliasWords: 'compat6 cannot be enabled with hwversion set',
    },
    { name: 'hwversion', kind: 'str', help: 'VMDK hardware version', member: 'hwversion' },
    SIZE_OPTION,
    {
      name: 'subformat',
      kind: 'str',
      help: 'VMDK flat extent format, can be one of {monolithicSparse (default) | monolithicFlat | twoGbMaxExtentSparse | twoGbMaxExtentFlat | streamOptimized} ',
      member: 'subformat',
    },
    { name: 'toolsversion', kind: 'str', help: 'VMware guest tools version', member: 'toolsversion' },
    {
      name: 'zeroed_grain',
      kind: 'bool (on/off)',
      help: 'Enable efficient zero writes using the zeroed-grain GTE feature',
      member: 'zeroed-grain',
    },
  ],
  summary: [
    ['size'],
    ['adapter_type'],
    ['backing_file'],
    ['backing_fmt'],
    ['compat6', 'off'],
    ['hwversion', 'undefined'],
    ['subformat'],
    ['toolsversion'],
    ['zeroed_grain'],
  ],
};

function kindOf({ subformat = 'monolithicSparse' }: VmdkCreateOptions): Kind {
  return KINDS[subformat];
}

/** Its extents are the disk's bytes as they are. */
export function isFlatVmdk(options: VmdkCreateOptions): boolean {
  return kindOf(options).isFlat;
}

/** Throws `invalid-argument`, `limit`, `unsupported`; `path` is for messages. */
export function checkVmdkCreate(options: VmdkCreateOptions, path: string): void {
  const fail = (code: 'invalid-argument' | 'limit', reason: string): never => {
    throw BlockError.at(path, code, reason, { operation: 'create' });
  };
  const { size, hwversion, toolsversion } = options;
  const { isFlat, isSplit } = kindOf(options);
  if (isFlat && options['backing-file'] !== undefined) fail('invalid-argument', "Flat image can't have backing file");
  if (isFlat && options['zeroed-grain']) fail('invalid-argument', "Flat image can't enable zeroed grain");
  if (options['backing-fmt'] !== undefined && options['backing-fmt'] !== 'vmdk') {
    fail('invalid-argument', 'backing_file must be a vmdk image');
  }
  const texts = { hwversion, toolsversion, 'backing file': options['backing-file'] };
  for (const [what, text] of Object.entries(texts)) {
    if (text !== undefined && !fitsQuotes(text))
      fail('invalid-argument', `The ${what} has a character that a descriptor cannot hold`);
  }
  if (size === 0) fail('invalid-argument', 'A disk of 0 bytes has no extents');
  const most = isSplit ? 1024 * EXTENT_BYTES : MAX_SPARSE_BYTES;
  if (size > most) fail('limit', `VMDK images of this subformat are of ${most} bytes at most`);
}

function sizesOf({ size }: VmdkCreateOptions, isSplit: boolean): number[] {
  const bytes = roundUp(size, SECTOR_BYTES);
  if (!isSplit) return [bytes];
  const sizes: number[] = [];
  for (let done = 0; done < bytes; done += EXTENT_BYTES) sizes.push(Math.min(EXTENT_BYTES, bytes - done));
  return sizes;
}

/** The files of its extents that an image at `path` has beside its descriptor. */
export function vmdkPartsAt(options: VmdkCreateOptions, path: string): object {
  const { isFlat, isSplit, letter } = kindOf(options);
  if (!isFlat && !isSplit) return {};
  const end = extname(path);
  const start = path.slice(0, path.length - end.length);
  const extents = sizesOf(options, isSplit).map((_, i) => {
    const number = isSplit ? String(i + 1).padStart(3, '0') : '';
    return { driver: 'file', filename: `${start}-${letter}${number}${end}` };
  });
  return { [EXTENTS]: extents };
}

/** Makes an image in `file` and its extents. Rejects with `no-space`, `io`, and as `checkVmdkCreate`. */
export async function createVmdk(request: CreateRequest<'vmdk'>): Promise<void> {
  const { graph, options, file, parts } = request;
  if (file === null) throw missingChild('file');
  const path = file.filename;
  checkVmdkCreate(options, path);
  const { isFlat, isSplit, isCompressed = false } = kindOf(options);
  const isApart = isFlat || isSplit;
  const sizes = sizesOf(options, isSplit);
  const extents = extentsOf(parts, isApart ? sizes.length : 0, path);
  const parentCid = await parentOf(request, path);
  const cids = { cid: newContentId(() => graph.host.random()), parentCid };
  const zeroGrains = options['zeroed-grain'] ?? false;
  if (!isApart) {
    const text = embeddedDescriptor(options, cids, path);
    await writeSparse(file, { capacity: sizes[0], isCompressed, zeroGrains }, text);
    return;
  }
  const names = extents.map((extent) => nameFrom(path, extent.filename));
  const text = descriptorOf(
    options,
    cids,
    sizes.map((length, i) => ({ kind: isFlat ? 'FLAT' : 'SPARSE', length, filename: names[i], offset: 0 })),
  );
  for (const [i, extent] of extents.entries()) {
    if (isFlat) await writeFlat(extent, sizes[i]);
    else await writeSparse(extent, { capacity: sizes[i], isCompressed, zeroGrains }, null);
  }
  await removeContent(file);
  await makeRoom(file, text.length, 0);
  await file.write(0, text);
  await file.flush();
}

interface ContentIds {
  cid: number;
  parentCid: number;
}

function descriptorOf(options: VmdkCreateOptions, cids: ContentIds, extents: readonly ExtentLine[]): Uint8Array {
  return encodeDescriptor({
    ...cids,
    createType: options.subformat ?? 'monolithicSparse',
    backingFile: options['backing-file'] ?? null,
    extents,
    size: roundUp(options.size, SECTOR_BYTES),
    hwVersion: options.hwversion ?? DEFAULT_HW_VERSION,
    adapterType: options['adapter-type'] ?? 'ide',
    toolsVersion: options.toolsversion ?? DEFAULT_TOOLS_VERSION,
  });
}

/** The descriptor of an image at `path` that is one file. Throws `invalid-argument` where it is too long. */
export function embeddedDescriptor(options: VmdkCreateOptions, cids: ContentIds, path: string): Uint8Array {
  const length = roundUp(options.size, SECTOR_BYTES);
  const text = descriptorOf(options, cids, [{ kind: 'SPARSE', length, filename: ownName(path), offset: 0 }]);
  if (text.length <= EMBEDDED_BYTES) return text;
  throw BlockError.at(path, 'invalid-argument', 'The descriptor is too long', { operation: 'create' });
}

/** Throws `invalid-argument` where there are fewer, or more, than the disk needs. */
function extentsOf(parts: ReadonlyMap<string, Child>, count: number, path: string): Child[] {
  const extents: Child[] = [];
  for (let i = 0; i < count; i++) {
    const extent = parts.get(`${EXTENTS}.${i}`);
    if (extent === undefined) {
      throw BlockError.at(path, 'invalid-argument', `Extent [${i}] not specified`, { operation: 'create' });
    }
    extents.push(extent);
  }
  if (parts.size > count) {
    throw BlockError.at(path, 'invalid-argument', 'List of extents contains unused extents', { operation: 'create' });
  }
  return extents;
}

/** How the descriptor at `path` names the file `filename`. Throws `invalid-argument` where it cannot. */
function nameFrom(path: string, filename: string): string {
  const name = dirname(filename) === dirname(path) ? basename(filename) : filename;
  if (isPath(filename) && fitsQuotes(name)) return name;
  throw BlockError.at(path, 'invalid-argument', `A descriptor cannot name the extent '${filename}'`, {
    operation: 'create',
  });
}

/** The name of a file that holds its own descriptor: nobody opens it by that. */
function ownName(path: string): string {
  const name = basename(path);
  return fitsQuotes(name) ? name : 'disk.vmdk';
}

/** The content ID of the backing file. */
async function parentOf({ graph, options }: CreateRequest<'vmdk'>, path: string): Promise<number> {
  const name = options['backing-file'];
  if (name === undefined) return NO_PARENT;
  const referrer = await referrerToBe(graph.host, path);
  const how = { readOnly: true, forceShare: true, backing: false, referrer };
  const node = await openNode(graph, resolveBackingName(path, name), how);
  try {
    if (node instanceof VmdkNode) return node.contentId;
    throw BlockError.at(path, 'invalid-argument', 'backing_file must be a vmdk image', { operation: 'create' });
  } finally {
    await graph.release(node);
  }
}

async function writeFlat(file: Child, size: number): Promise<void> {
  await removeContent(file);
  await makeRoom(file, size, size);
  await file.flush();
}

/** Tables first: a file that is cut short here is no extent. */
async function writeSparse(file: Child, made: NewExtent, descriptor: Uint8Array | null): Promise<void> {
  const layout = layoutOf(made.capacity, made.isCompressed);
  await removeContent(file);
  await makeRoom(file, layout.data, layout.data);
  if (!made.isCompressed) await writeDirectory(file, layout, layout.redundantDirectory);
  await writeDirectory(file, layout, layout.directory);
  if (descriptor !== null) {
    const bytes = new Uint8Array(layout.descriptorBytes);
    bytes.set(descriptor);
    await file.write(layout.descriptor, bytes);
  }
  await file.flush();
  await file.write(0, encodeHeader(made, layout));
  await file.flush();
}

/** A directory whose tables follow it. */
async function writeDirectory(file: Child, { directoryEntries, directoryBytes, tableBytes }: SparseLayout, at: number) {
  for (let done = 0; done < directoryBytes; done += STEP_BYTES) {
    const bytes = new Uint8Array(Math.min(STEP_BYTES, directoryBytes - done));
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < bytes.length / ENTRY_BYTES && done / ENTRY_BYTES + i < directoryEntries; i++) {
      const table = at + directoryBytes + (done / ENTRY_BYTES + i) * tableBytes;
      view.setUint32(i * ENTRY_BYTES, table / SECTOR_BYTES, true);
    }
    await file.write(at + done, bytes);
  }
}

/** Of an image with the content of `source`; all its files together. Rejects as `checkVmdkCreate`, and as the block status of the source. */
export async function measureVmdk({ options, source }: MeasureRequest<'vmdk'>): Promise<BlockMeasureInfo> {
  checkVmdkCreate(options, '');
  const { isFlat, isSplit, isCompressed = false } = kindOf(options);
  const size = roundUp(options.size, SECTOR_BYTES);
  if (isFlat) return { required: size, 'fully-allocated': size };
  const head = sizesOf(options, isSplit).reduce((sum, bytes) => sum + layoutOf(bytes, isCompressed).data, 0);
  const used = (await source?.clustersWithData(GRAIN_BYTES)) ?? 0;
  // How well it compresses is not known.
  const grain = isCompressed ? mostPackedBytes(GRAIN_BYTES) : GRAIN_BYTES;
  return { required: head + used * grain, 'fully-allocated': head + Math.ceil(size / GRAIN_BYTES) * grain };
}
