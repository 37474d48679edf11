// A throw-away format: a sector of header, and the disk behind it, or in a file of its own beside it.

import type { Abilities } from '../../../src/block/abilities.js';
import { type Child, withLink } from '../../../src/block/child.js';
import { makeRoom } from '../../../src/block/create.js';
import { SIZE_OPTION } from '../../../src/block/create-option.js';
import { FormatNode } from '../../../src/block/node/format.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import type { DriverDefinition, OpenRequest } from '../../../src/block/registry.js';
import { ROLES } from '../../../src/block/roles.js';
import { type BlockStatus, type Compression, type Located, PERM_ALL, Perm } from '../../../src/block/types.js';
import type { BlockdevDriver } from '../../../src/schema/generated/types.js';

const HEADER_BYTES = 512;
const EXTENT = 'extents.0';

interface Header {
  size: number;
  flavour: string;
  /** The name of the file that the disk lies in; null: this one. */
  extent: string | null;
  /** Takes compressed writes alone (and stores them as they are). */
  packed: boolean;
}

function encode({ size, flavour, extent, packed }: Header): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES);
  header.set(new TextEncoder().encode(`TINY\n${size}\n${flavour}\n${extent ?? ''}\n${packed ? 'packed' : ''}\n`));
  return header;
}

function decode(bytes: Uint8Array): Header {
  const [, size, flavour, extent, packed] = new TextDecoder().decode(bytes).split('\n');
  return { size: Number(size), flavour, extent: extent === '' ? null : extent, packed: packed === 'packed' };
}

class TinyNode extends FormatNode {
  override readonly driver = 'tiny';
  override readonly filename: string;
  readonly #flavour: string;
  readonly #offset: number;
  readonly #packed: boolean;

  constructor({ graph, node, use }: OpenRequest, file: BlockNode, header: Header, extent: BlockNode | null) {
    super(graph, node);
    this.filename = file.filename;
    this.length = header.size;
    this.#flavour = header.flavour;
    this.#packed = header.packed;
    this.#offset = extent === null ? HEADER_BYTES : 0;
    this.setChild('file', file, 'image', ROLES.image.permissions(use));
    if (extent !== null) this.setChild(EXTENT, extent, 'data', ROLES.data.permissions(use));
  }

  /** What the disk lies in, from `#offset` on. */
  get #content(): Child {
    return this.children.get(EXTENT) ?? this.primary!;
  }

  override get abilities(): Abilities {
    const data = { 'header-bytes': HEADER_BYTES, flavour: this.#flavour };
    return { details: () => ({ specific: { type: 'tiny', data } as never }) };
  }

  override get compression(): Compression {
    return this.#packed ? 'needed' : 'refused';
  }

  protected override doLocate(offset: number, length: number, write: boolean, into: Located): boolean {
    return this.#content.locate(offset + this.#offset, length, write, into);
  }

  protected override doRead(offset: number, buffer: Uint8Array): Promise<void> {
    return this.#content.read(offset + this.#offset, buffer);
  }

  protected override doWrite(offset: number, buffer: Uint8Array): Promise<void> {
    return this.#content.write(offset + this.#offset, buffer);
  }

  protected override async doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    const place = { offset: offset + this.#offset, node: this.#content.node };
    return { length, allocated: true, data: true, zero: false, compressed: false, ...place };
  }
}

interface TinyOptions {
  size: number;
  flavour?: string;
  apart?: boolean;
  packed?: boolean;
}

export const tinyDriver = {
  name: 'tiny' as BlockdevDriver,
  kind: 'format',
  createOptions: {
    options: [
      { name: 'apart', kind: 'bool (on/off)', help: 'The disk lies in a file of its own', member: 'apart' },
      { name: 'flavour', kind: 'str', help: 'What it tastes of', member: 'flavour' },
      { name: 'packed', kind: 'bool (on/off)', help: 'Take compressed writes alone', member: 'packed' },
      SIZE_OPTION,
    ],
    summary: [['size'], ['flavour', 'plain']],
  },
  parts: { extents: 'extent' },
  partsAt: (options, path) =>
    (options as unknown as TinyOptions).apart ? { extents: [{ driver: 'file', filename: `${path}-flat` }] } : {},
  detailOrder: ['flavour', 'header-bytes'],
  findingWords: { 'no-flavour': () => 'ERROR: it tastes of nothing' },
  probe: (head) => (new TextDecoder().decode(head.subarray(0, 5)) === 'TINY\n' ? 100 : 0),
  async open(request) {
    const file = await request.openChild('file', null, 'image');
    const head = new Uint8Array(HEADER_BYTES);
    const use = { user: { userName: 'tiny' }, role: 'root', perm: Perm.CONSISTENT_READ, shared: PERM_ALL } as const;
    await withLink(file, use, (link) => link.read(0, head));
    const header = decode(head);
    const named = { image: file, filename: header.extent, format: null };
    return new TinyNode(request, file, header, await request.openChild(EXTENT, named, 'data'));
  },
  async create({ options, file, parts }) {
    const { size, flavour = 'plain', packed = false } = options as unknown as TinyOptions;
    const extent = parts.get(EXTENT);
    if (extent !== undefined) await makeRoom(extent, size, 0);
    await makeRoom(file!, extent === undefined ? size + HEADER_BYTES : HEADER_BYTES, HEADER_BYTES);
    await file!.write(0, encode({ size, flavour, extent: extent?.node.filename ?? null, packed }));
    await file!.flush();
  },
} satisfies DriverDefinition as DriverDefinition;
