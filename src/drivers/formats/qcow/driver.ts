// qcow: the first version of QEMU's own format. Two levels of tables place its clusters (blocks/two-level-table.ts); new ones go to the end of the file. Clusters can be compressed
// (packed.ts), or the content of all can be encrypted (encryption/).

import type { Abilities } from '../../../block/abilities.js';
import { formatNodeName } from '../../../block/filename.js';
import type { Graph } from '../../../block/graph.js';
import type { BlockNode, NodeOptions } from '../../../block/node/node.js';
import type { NodeChange, PreparedReopen } from '../../../block/node/reopening.js';
import type { Permissions } from '../../../block/roles.js';
import type { Compression, WriteFlags } from '../../../block/types.js';
import { CIPHER_SECTOR, type SectorCipher } from '../../../host/cipher.js';
import { putViewBe64, viewBe64 } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { ImageFile } from '../../image-file.js';
import { Commits } from '../blocks/commits.js';
import { BlocksNode } from '../blocks/node.js';
import { badEntry } from '../blocks/pages.js';
import { type BlockCoding, COMPRESSED, HOLE } from '../blocks/places.js';
import { type Pointers, TwoLevelTable } from '../blocks/two-level-table.js';
import { decryptPieces, writePieces } from '../encryption/pieces.js';
import { diskBytes, ENTRY_BYTES, HEADER_BYTES, type Header, isPacked, l1Entries, parseHead } from './header.js';
import { PackedClusters } from './packed.js';
import { QcowSpace } from './space.js';

const UNALLOCATED = 0;

export class QcowNode extends BlocksNode {
  override readonly driver = 'qcow';
  override readonly filename: string;
  override readonly blockBytes: number;
  override readonly file: ImageFile;
  override readonly tables: TwoLevelTable;
  override readonly space: QcowSpace;
  readonly compressed: PackedClusters;
  readonly coding?: BlockCoding;
  readonly #header: Header;
  readonly #cipher: SectorCipher | null;
  readonly #commits: Commits;
  /** What no cluster and no table may lie on: [start, end) each. */
  readonly #metadata: readonly (readonly [number, number])[];
  readonly #metadataEnd: number;
  /** The image was made empty, and nothing was taken since. */
  #isEmpty = false;

  /**
   * `head`: what `readHead` has read of `file`. `open` opens the cipher of an encrypted image, which is the node's own from then on, and closed with it; null where nobody will
   * read its content. Throws as `parseHead` and as `open`.
   */
  constructor(
    graph: Graph,
    node: NodeOptions,
    file: BlockNode,
    head: Uint8Array,
    permissions: Permissions,
    open: (header: Header) => SectorCipher | null,
  ) {
    super(graph, node);
    this.filename = formatNodeName(this.driver, {}, file);
    const { header, backingFile } = parseHead(head, file.length, file.filename);
    this.#header = header;
    this.blockBytes = 2 ** header.clusterBits;
    this.length = diskBytes(header);
    this.backingFile = backingFile;
    this.#cipher = open(header);
    this.setChild('file', file, 'image', permissions);
    this.file = new ImageFile(() => this.primary!);
    const { l1Offset, backingNameOffset, backingNameBytes, clusterBits, l2Bits } = header;
    const entries = l1Entries(header);
    this.#metadata = [
      [0, HEADER_BYTES],
      [backingNameOffset, backingNameOffset + backingNameBytes],
      [l1Offset, l1Offset + entries * ENTRY_BYTES],
    ];
    this.#metadataEnd = Math.max(...this.#metadata.map(([, end]) => end));
    this.space = new QcowSpace(this.file, header);
    this.tables = new TwoLevelTable(
      this.file,
      this.#pointers(),
      { offset: l1Offset, entries, tableEntries: 2 ** l2Bits },
      this.space,
    );
    this.#commits = new Commits({ file: this.file, levels: this.tables.levels });
    this.compressed = new PackedClusters(
      {
        file: this.file,
        tables: this.tables,
        space: this.space,
        memory: this.memory,
        codecs: this.host.codecs,
        length: this.length,
        withBlocks: (first, last, action) => this.requests.withBlocks(first, last, action),
        write: (offset, buffer) => this.requests.write(offset, buffer),
      },
      clusterBits,
    );
    if (header.isEncrypted) {
      this.requestAlignment = CIPHER_SECTOR;
      this.coding = this.#makeCoding();
    }
  }

  #pointers(): Pointers {
    const tableBytes = ENTRY_BYTES * 2 ** this.#header.l2Bits;
    return {
      bytes: ENTRY_BYTES,
      table: (view, at, index) => {
        const entry = viewBe64(view, at);
        if (entry === UNALLOCATED) return HOLE;
        const isPlace = entry % CIPHER_SECTOR === 0 && entry + tableBytes <= this.file.length;
        if (isPlace && !this.#isOnMetadata(entry, tableBytes)) return entry;
        throw badEntry(this.filename, `L1 entry ${index} points to no place of an L2 table`, entry);
      },
      putTable: (view, at, offset) => putViewBe64(view, at, offset === HOLE ? UNALLOCATED : offset),
      place: (view, at, index) => {
        if (isPacked(view, at)) return COMPRESSED;
        const entry = viewBe64(view, at);
        if (entry === UNALLOCATED) return HOLE;
        // Clusters that do not begin where one can could reach over the end of the file, into what comes there.
        const isPlace = entry % this.blockBytes === 0 && entry < this.file.length;
        if (isPlace && !this.#isOnMetadata(entry, this.blockBytes)) return entry;
        throw badEntry(this.filename, `L2 entry of cluster ${index} points to no place of a cluster`, entry);
      },
      putPlace: (view, at, place) => putViewBe64(view, at, place === HOLE ? UNALLOCATED : place),
    };
  }

  #isOnMetadata(offset: number, bytes: number): boolean {
    if (offset >= this.#metadataEnd) return false;
    return this.#metadata.some(([from, to]) => offset < to && from < offset + bytes);
  }

  #makeCoding(): BlockCoding {
    return {
      read: async (place, offset, buffer) => {
        const cipher = this.#needCipher('read');
        await this.file.read(place, buffer, 'read_aio');
        await decryptPieces(cipher, offset, buffer);
      },
      write: (place, offset, buffer) =>
        writePieces(this.memory, this.#needCipher('write'), offset, buffer, (done, piece) =>
          this.file.write(place + done, piece, done === 0 ? 'write_aio' : undefined),
        ),
    };
  }

  #needCipher(operation: string): SectorCipher {
    if (this.#cipher !== null) return this.#cipher;
    const reason = "Parameter 'encrypt.key-secret' is required for cipher";
    throw BlockError.at(this.filename, 'permission', reason, { operation });
  }

  override get compression(): Compression {
    return 'taken';
  }

  protected override async doWrite(offset: number, buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    if (!flags.compressed) return super.doWrite(offset, buffer, flags);
    if (this.#header.isEncrypted) {
      const reason = 'Compression and encryption not supported at the same time';
      throw BlockError.at(this.filename, 'unsupported', reason, { offset, operation: 'write' });
    }
    await this.compressed.write(offset, buffer);
  }

  override commit(): Promise<void> {
    return this.#commits.commit();
  }

  /** Makes holes of all clusters. Who reads them meanwhile may still do so: their space is given back when the image is closed. */
  protected override async doMakeEmpty(): Promise<void> {
    await this.commit();
    const { l1Offset } = this.#header;
    await this.file.writeZeroes(l1Offset, l1Entries(this.#header) * ENTRY_BYTES);
    await this.file.flush();
    this.tables.clear();
    this.#isEmpty = true;
    this.space.hasTaken = false;
  }

  override get abilities(): Abilities {
    return {
      details: () => ({ clusterSize: this.blockBytes, dirty: false, encrypted: this.#header.isEncrypted }),
    };
  }

  override async prepareReopen({ readOnly = this.readOnly }: NodeChange): Promise<PreparedReopen | null> {
    if (!this.readOnly && readOnly) await this.#finish(false);
    return null;
  }

  /** All is in the file, which is no longer than it need be. `closes`: no read that was located can still go to what `makeEmpty`, or a copy, has dropped, so that it is given back. */
  async #finish(closes: boolean): Promise<void> {
    await this.commit();
    if (closes) await this.#dropUnused();
    await this.file.trim();
  }

  #dropUnused(): Promise<void> {
    const isEmptied = this.#isEmpty && !this.space.hasTaken;
    return isEmptied ? this.file.cut(Math.min(this.#metadataEnd, this.file.length)) : this.space.dropSpare();
  }

  protected override async doClose(): Promise<void> {
    try {
      if (!this.readOnly) await this.#finish(true);
    } finally {
      this.tables.clear();
      this.#cipher?.close();
    }
  }
}
