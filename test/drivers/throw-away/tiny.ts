// A throw-away format: a sector of header, and the disk behind it.

import type { Abilities } from '../../../src/block/abilities.js';
import { withLink } from '../../../src/block/child.js';
import { makeRoom } from '../../../src/block/create.js';
import { SIZE_OPTION } from '../../../src/block/create-option.js';
import { FormatNode } from '../../../src/block/node/format.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import type { DriverDefinition, OpenRequest } from '../../../src/block/registry.js';
import { ROLES } from '../../../src/block/roles.js';
import { type BlockStatus, type Located, PERM_ALL, Perm } from '../../../src/block/types.js';
import type { BlockdevDriver } from '../../../src/schema/generated/types.js';

const HEADER_BYTES = 512;

class TinyNode extends FormatNode {
  override readonly driver = 'tiny';
  override readonly filename: string;
  readonly #flavour: string;

  constructor({ graph, node, use }: OpenRequest, file: BlockNode, header: string) {
    super(graph, node);
    const [, size, flavour] = header.split('\n');
    this.filename = file.filename;
    this.length = Number(size);
    this.#flavour = flavour;
    this.setChild('file', file, 'image', ROLES.image.permissions(use));
  }

  override get abilities(): Abilities {
    const data = { 'header-bytes': HEADER_BYTES, flavour: this.#flavour };
    return { details: () => ({ specific: { type: 'tiny', data } as never }) };
  }

  protected override doLocate(offset: number, length: number, write: boolean, into: Located): boolean {
    return this.primary!.locate(offset + HEADER_BYTES, length, write, into);
  }

  protected override doRead(offset: number, buffer: Uint8Array): Promise<void> {
    return this.primary!.read(offset + HEADER_BYTES, buffer);
  }

  protected override doWrite(offset: number, buffer: Uint8Array): Promise<void> {
    return this.primary!.write(offset + HEADER_BYTES, buffer);
  }

  protected override async doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    const place = { offset: offset + HEADER_BYTES, node: this.primary!.node };
    return { length, allocated: true, data: true, zero: false, compressed: false, ...place };
  }
}

export const tinyDriver = {
  name: 'tiny' as BlockdevDriver,
  kind: 'format',
  createOptions: {
    options: [{ name: 'flavour', kind: 'str', help: 'What it tastes of', member: 'flavour' }, SIZE_OPTION],
    summary: [['size'], ['flavour', 'plain']],
  },
  detailOrder: ['flavour', 'header-bytes'],
  probe: (head) => (new TextDecoder().decode(head.subarray(0, 5)) === 'TINY\n' ? 100 : 0),
  async open(request) {
    const file = await request.openChild('file', null, 'image');
    const head = new Uint8Array(HEADER_BYTES);
    const use = { user: { userName: 'tiny' }, role: 'root', perm: Perm.CONSISTENT_READ, shared: PERM_ALL } as const;
    await withLink(file, use, (link) => link.read(0, head));
    return new TinyNode(request, file, new TextDecoder().decode(head));
  },
  async create({ options, file }) {
    const { size, flavour = 'plain' } = options as unknown as { size: number; flavour?: string };
    await makeRoom(file!, size + HEADER_BYTES, HEADER_BYTES);
    const header = new Uint8Array(HEADER_BYTES);
    header.set(new TextEncoder().encode(`TINY\n${size}\n${flavour}\n`));
    await file!.write(0, header);
    await file!.flush();
  },
} satisfies DriverDefinition as DriverDefinition;
