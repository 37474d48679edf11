// luks: a file with a LUKS header (version 1), and the disk behind it, encrypted sector by sector. Where it was opened for its header alone, it has no
// cipher, and its content cannot be reached.
//
//   file     | header, key material | sector 0 | sector 1 | ...        a sector's number counts from the payload on
//                                   ^ payload offset
// or, with a detached header:
//
//   header   | header, key material |                                  a child of its own: read, but for changes of key slots
//   file     | sector 0 | sector 1 | ...
//            ^ payload offset, 0 as a rule; that of a copy of another image's header says where the disk lies in that image

import type { Abilities, KeySlotChange } from '../../../block/abilities.js';
import type { Child } from '../../../block/child.js';
import { formatNodeName, nameAsOptions } from '../../../block/filename.js';
import type { Graph } from '../../../block/graph.js';
import { FormatNode } from '../../../block/node/format.js';
import type { BlockNode, NodeOptions } from '../../../block/node/node.js';
import { type Permissions, ROLES } from '../../../block/roles.js';
import { type BlockStatus, Perm, type TruncateOptions } from '../../../block/types.js';
import { CIPHER_SECTOR, type SectorCipher } from '../../../host/cipher.js';
import type { ZeroScan } from '../../../host/host.js';
import { BlockError } from '../../../util/errors.js';
import { decryptPieces, writePieces } from '../encryption/pieces.js';
import { SlotChanges, type SlotPlace } from './amend.js';
import { HEADER, type Volume, volumeInfo } from './volume.js';

export class LuksNode extends FormatNode {
  override readonly driver = 'luks';
  override readonly filename: string;
  override requestAlignment = CIPHER_SECTOR;
  readonly #volume: Volume;
  readonly #cipher: SectorCipher | null;
  readonly #slots: SlotChanges;
  /** Bytes before the disk in the file. */
  readonly #offset: number;
  /** Key slots of a detached header are being changed: changes that are under way or wait for their turn. */
  #slotChanges = 0;

  /** Takes the cipher over: it is closed with the node. `header`: the detached one. `openedWith`: the secret that opened it. */
  constructor(
    graph: Graph,
    node: NodeOptions,
    file: BlockNode,
    header: BlockNode | null,
    volume: Volume,
    cipher: SectorCipher | null,
    openedWith: string | undefined,
    permissions: Permissions,
  ) {
    super(graph, node);
    this.#volume = volume;
    this.#cipher = cipher;
    this.#slots = new SlotChanges(graph, volume, (header ?? file).filename, openedWith);
    this.#offset = volume.header.payloadOffset;
    this.filename = formatNodeName('luks', { [HEADER]: header === null ? undefined : nameAsOptions(header) }, file);
    this.length = file.length - this.#offset;
    this.setChild('file', file, header === null ? 'image' : 'content', permissions);
    if (header !== null) this.setChild(HEADER, header, 'header', ROLES.header.permissions(this));
  }

  override needsOf(link: Child, perm: number, shared: number, readOnly: boolean): Permissions | null {
    if (link.name !== HEADER) return super.needsOf(link, perm, shared, readOnly);
    const own = ROLES.header.permissions(this);
    return this.#slotChanges > 0 ? { ...own, perm: own.perm | Perm.WRITE } : own;
  }

  override get abilities(): Abilities {
    return {
      details: () => ({ encrypted: true, specific: { type: 'luks', data: volumeInfo(this.#volume) } }),
      keySlots: (change) => this.tracked(this.#changeSlots(change)),
    };
  }

  /** What was there before is gone, but what is there now decrypts to anything but zeroes. */
  override get zeroWhenNew(): boolean {
    return false;
  }

  protected override async doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    const cipher = this.#needCipher('read', offset);
    const stop = this.#below.raise('read_aio');
    if (stop !== undefined) await stop;
    await this.#below.read(this.#offset + offset, buffer);
    await decryptPieces(cipher, offset, buffer);
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  protected override async doWrite(offset: number, buffer: Uint8Array): Promise<void> {
    const cipher = this.#needCipher('write', offset);
    const stop = this.#below.raise('write_aio');
    if (stop !== undefined) await stop;
    const at = this.#offset + offset;
    await writePieces(this.host.memory, cipher, offset, buffer, (done, piece) => this.#below.write(at + done, piece));
  }

  override blockStatusSync(_offset: number, length: number): BlockStatus {
    return { length, allocated: true, data: true, zero: false, compressed: false, offset: -1, node: null };
  }

  protected override async doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    return this.blockStatusSync(offset, length);
  }

  protected override async doTruncate(size: number, options: TruncateOptions): Promise<void> {
    if (!Number.isSafeInteger(size + this.#offset)) {
      throw BlockError.at(this.filename, 'limit', 'The requested file size is too large', { operation: 'resize' });
    }
    await this.#below.truncate(size + this.#offset, options);
  }

  protected override async doClose(): Promise<void> {
    this.#cipher?.close();
  }

  async #changeSlots(change: KeySlotChange): Promise<void> {
    const header = this.children.get(HEADER);
    if (header === undefined) return this.#slots.change(slotPlace(this.#below), change);
    this.checkWritable('amend');
    this.#countSlotChanges(1);
    try {
      await this.#slots.change(slotPlace(header), change);
    } finally {
      this.#countSlotChanges(-1);
    }
  }

  /** With the first change, the header is to be written to; with the end of the last, no longer. Throws `permission`, `read-only`, `locked`. */
  #countSlotChanges(by: number): void {
    this.#slotChanges += by;
    try {
      this.updatePermissions();
    } catch (error) {
      this.#slotChanges -= by;
      throw error;
    }
  }

  get #below(): Child {
    return this.primary!;
  }

  #needCipher(operation: string, offset: number): SectorCipher {
    if (this.#cipher !== null) return this.#cipher;
    const reason = "Parameter 'key-secret' is required for cipher";
    throw BlockError.at(this.filename, 'permission', reason, { operation, offset });
  }
}

function slotPlace(link: Child): SlotPlace {
  return {
    read: (offset, buffer) => link.read(offset, buffer),
    write: (offset, bytes) => link.write(offset, bytes),
    flush: () => link.flush(),
  };
}
