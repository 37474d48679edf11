// Opens a VMDK image: the file that was named is the descriptor, or a sparse extent with the descriptor in it.

import { type Child, readingUse, withLink } from '../../../block/child.js';
import { fileId } from '../../../block/identity.js';
import { openBacking } from '../../../block/node/format.js';
import type { BlockNode } from '../../../block/node/node.js';
import type { OpenRequest } from '../../../block/registry.js';
import { ROLES } from '../../../block/roles.js';
import { openByHead, readUpTo, refuseChanged } from '../../../block/stale.js';
import { BlockError } from '../../../util/errors.js';
import { hasMagic } from '../../../util/magic.js';
import {
  EMBEDDED_BYTES,
  type ExtentLine,
  MAX_DESCRIPTOR_BYTES,
  parseDescriptor,
  parseExtents,
  textOf,
} from './descriptor.js';
import { type OpenedExtent, VmdkNode, type VmdkParts } from './driver.js';
import { ENTRY_BYTES, footerOffset, HEADER_BYTES, headerOfFooter, parseHeader, type SparseHeader } from './header.js';
import { parseSeHeader, SE_HEADER_BYTES, type SeHeader, volatileOffset } from './se-header.js';

const FOOTER_BYTES = 3 * HEADER_BYTES;

/** All that decides how the image is opened: the header, the descriptor, and the footer. Rejects with `io`. */
async function readHead(link: Child): Promise<Uint8Array> {
  const start = await readUpTo(link, HEADER_BYTES);
  if (!isSparse(start)) return readUpTo(link, MAX_DESCRIPTOR_BYTES);
  const head = await readUpTo(link, HEADER_BYTES + EMBEDDED_BYTES);
  const at = footerOffset(start, link.length);
  if (at === null) return head;
  const footer = new Uint8Array(Math.min(FOOTER_BYTES, link.length - at));
  await link.read(at, footer);
  const bytes = new Uint8Array(HEADER_BYTES + EMBEDDED_BYTES + footer.length);
  bytes.set(head);
  bytes.set(footer, HEADER_BYTES + EMBEDDED_BYTES);
  return bytes;
}

function isSparse(head: Uint8Array): boolean {
  return hasMagic(head, 'KDMV') || hasMagic(head, 'COWD');
}

/** The header in what `readHead` has read. Throws `invalid-image`, `unsupported`. */
function headerIn(bytes: Uint8Array, file: BlockNode): SparseHeader {
  const path = file.filename;
  const start = bytes.subarray(0, HEADER_BYTES);
  const hasFooter = footerOffset(start, file.length) !== null;
  const own = hasFooter ? headerOfFooter(bytes.subarray(HEADER_BYTES + EMBEDDED_BYTES), path) : start;
  return { ...parseHeader(own, path), hasFooter };
}

/** The directories lie in the file, behind the header and the descriptor, and not over each other. Throws `invalid-image`. */
function checkDirectories(header: SparseHeader, from: number, file: BlockNode): void {
  const { directory, redundantDirectory: copy, directoryEntries } = header;
  const length = directoryEntries * ENTRY_BYTES;
  if (length === 0) return;
  const fits = (offset: number): boolean => offset >= from && offset + length <= file.length;
  const isSound = fits(directory) && (copy === null || (fits(copy) && Math.abs(copy - directory) >= length));
  if (isSound) return;
  throw BlockError.at(
    file.filename,
    'invalid-image',
    'A grain directory lies outside of the file, or over other metadata',
    {
      offset: directory,
      operation: 'open',
    },
  );
}

export async function openVmdk(request: OpenRequest<'vmdk'>): Promise<VmdkNode> {
  const { graph, node, use } = request;
  const file = await request.openChild('file', null, 'image');
  const image = await openByHead(request, file, readHead, async (bytes) => {
    const isOne = isSparse(bytes);
    const { parts, heads } = isOne ? ownExtent(bytes, file) : await extentsApart(request, bytes, file);
    const opened = new VmdkNode(graph, node, file, parts, ROLES.image.permissions(use));
    if (!node.readOnly) opened.checkWritableImage();
    for (const [name, { read, bytes }] of heads) await refuseChanged(request, opened.children.get(name)!, read, bytes);
    return opened;
  });
  await openBacking(request, image);
  return image;
}

/** What an extent that is a file of its own begins with, as it was read before there was a lock. */
interface ExtentHead {
  read: (link: Child) => Promise<Uint8Array>;
  bytes: Uint8Array;
}

/** The parts of the image, and the heads of those that are children, by the child's name. */
interface FoundParts {
  parts: VmdkParts;
  heads: ReadonlyMap<string, ExtentHead>;
}

/** All lies in `file`. */
function ownExtent(bytes: Uint8Array, file: BlockNode): FoundParts {
  const header = headerIn(bytes, file);
  const descriptorStart = HEADER_BYTES;
  const text = textOf(bytes.subarray(descriptorStart, descriptorStart + EMBEDDED_BYTES));
  if (header.capacity === 0) {
    throw BlockError.at(
      file.filename,
      'unsupported',
      'A VMDK file that holds a descriptor alone, with extents beside it, is not supported',
      {
        operation: 'open',
      },
    );
  }
  const descriptorEnd = descriptorStart + text.length;
  checkDirectories(header, descriptorEnd, file);
  const line: ExtentLine = { kind: 'SPARSE', length: header.capacity, filename: '', offset: 0 };
  const parts = {
    descriptor: parseDescriptor(text, file.filename),
    descriptorStart,
    descriptorEnd,
    extents: [{ line, node: null, layout: header, isOwn: true }],
  };
  return { parts, heads: new Map() };
}

/** `file` is the descriptor; the extents are opened through the gate. */
async function extentsApart(request: OpenRequest<'vmdk'>, bytes: Uint8Array, file: BlockNode): Promise<FoundParts> {
  const path = file.filename;
  const text = textOf(bytes);
  const descriptor = parseDescriptor(text, path);
  const lines = parseExtents(text, descriptor, path);
  const seen = new Set([await fileId(file)]);
  const extents: OpenedExtent[] = [];
  const heads = new Map<string, ExtentHead>();
  for (const [i, line] of lines.entries()) {
    if (line.kind === 'ZERO') {
      extents.push({ line, node: null, layout: null, isOwn: false });
      continue;
    }
    const name = `extents.${i}`;
    const node = await request.openChild(name, { image: file, filename: pathOf(line.filename), format: null }, 'data');
    if (node === null) {
      throw BlockError.at(path, 'invalid-argument', `'${name}' is required for this image`, { operation: 'open' });
    }
    const id = await fileId(node);
    const isFlat = line.kind === 'FLAT' || line.kind === 'VMFS';
    // Flat extents may be parts of one file.
    if (id !== null && seen.has(id) && (!isFlat || id === (await fileId(file)))) {
      throw BlockError.at(path, 'invalid-image', `The extent '${line.filename}' is used twice`, { operation: 'open' });
    }
    seen.add(id);
    let layout: SparseHeader | SeHeader | null = null;
    if (!isFlat) {
      const head = await headOf(request, node, line);
      heads.set(name, head);
      layout = layoutIn(head.bytes, node, line);
    }
    extents.push({ line, node, layout, isOwn: false });
  }
  return { parts: { descriptor, descriptorStart: 0, descriptorEnd: text.length, extents }, heads };
}

/** Of a sparse extent that is a file of its own. Rejects with `io`. */
async function headOf(request: OpenRequest<'vmdk'>, node: BlockNode, line: ExtentLine): Promise<ExtentHead> {
  const look = readingUse(`node '${request.node.nodeName}'`);
  const read = line.kind === 'SESPARSE' ? readSeHeader : readHead;
  return { read, bytes: await withLink(node, look, read) };
}

/** The header in what `headOf` has read. Throws `invalid-image`, `unsupported`. */
function layoutIn(bytes: Uint8Array, node: BlockNode, line: ExtentLine): SparseHeader | SeHeader {
  const header = line.kind === 'SESPARSE' ? seHeaderIn(bytes, node) : sparseHeaderIn(bytes, node);
  if (header.capacity < line.length) {
    throw BlockError.at(node.filename, 'invalid-image', 'The extent is smaller than its descriptor says', {
      operation: 'open',
    });
  }
  return header;
}

function sparseHeaderIn(head: Uint8Array, node: BlockNode): SparseHeader {
  const header = headerIn(head, node);
  checkDirectories(header, HEADER_BYTES, node);
  return header;
}

/** The constant header, and the volatile one behind it. */
async function readSeHeader(link: Child): Promise<Uint8Array> {
  const constant = await readUpTo(link, SE_HEADER_BYTES);
  const volatile = await readUpTo(link, SE_HEADER_BYTES, volatileOffset(constant, link.length));
  return Buffer.concat([constant, volatile]);
}

function seHeaderIn(head: Uint8Array, node: BlockNode): SeHeader {
  const constant = head.subarray(0, SE_HEADER_BYTES);
  return parseSeHeader(constant, head.subarray(SE_HEADER_BYTES), node.length, node.filename);
}

/** An extent's name is a path, beside the descriptor where it is relative: never a protocol's, however it begins. */
function pathOf(name: string): string {
  return /^[^/]*:/.test(name) ? `./${name}` : name;
}
