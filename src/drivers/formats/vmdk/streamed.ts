// A stream-optimised image that is written from its first byte to its last, as VMware's own tools write it: a table stands behind its grains, the directory behind all tables.
//
//   | header | descriptor | .. | marker grain | ... | marker | table | marker grain | ... | marker | table | marker | directory | marker | footer | marker: the end |
//
// The header says that the directory's place is in the footer, which is a second header. Memory: one table, and the directory.
// Source: VMware, "Virtual Disk Format 5.0", "Stream-Optimized Compressed Sparse Extents".

import type { CreateRequest, PackedStream, StreamedImage } from '../../../block/registry.js';
import type { Host } from '../../../host/host.js';
import { viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { newContentId } from './cid.js';
import { checkVmdkCreate, embeddedDescriptor } from './create.js';
import { NO_PARENT } from './descriptor.js';
import { checkFits, mostPackedBytes, packGrain } from './grain-packer.js';
import { ENTRY_BYTES, encodeHeader, encodeMarker, GRAIN_BYTES, layoutOf, MarkerType, TABLE_ENTRIES } from './header.js';

type VmdkCreateOptions = CreateRequest<'vmdk'>['options'];

/** Where the first grain stands. */
const HEAD_BYTES = 64 << 10;
const TABLE_BYTES = TABLE_ENTRIES * ENTRY_BYTES;

/** The image that is made with `options`; `path` is for messages. Throws as `checkVmdkCreate`, and `unsupported` for what is no stream, and for an overlay. */
export function streamVmdk(options: VmdkCreateOptions, path: string): StreamedImage {
  checkVmdkCreate(options, path);
  const { subformat = 'monolithicSparse' } = options;
  const refuse = (reason: string): never => {
    throw BlockError.at(path, 'unsupported', reason, { operation: 'create' });
  };
  if (subformat !== 'streamOptimized') {
    refuse(`VMDK images of the subformat '${subformat}' cannot be written as a stream, 'streamOptimized' ones can`);
  }
  if (options['backing-file'] !== undefined) refuse('A VMDK image with a backing file cannot be written as a stream');
  const size = roundUp(options.size, SECTOR_BYTES);
  return {
    unit: GRAIN_BYTES,
    size,
    layout: { kind: 'packed', begin: (host) => new VmdkStream(options, size, path, host) },
  };
}

class VmdkStream implements PackedStream {
  readonly head: Iterable<Uint8Array>;
  readonly mostBytes = mostPackedBytes(GRAIN_BYTES);
  readonly #path: string;
  readonly #host: Host;
  readonly #header: (directory: number | null) => Uint8Array;
  readonly #directory: Uint8Array;
  /** Of the grains that were added last; `#tableNumber` < 0: there were none. */
  readonly #table = new Uint8Array(TABLE_BYTES);
  #tableNumber = -1;
  #end = HEAD_BYTES;

  constructor(options: VmdkCreateOptions, size: number, path: string, host: Host) {
    this.#path = path;
    this.#host = host;
    const { descriptor, descriptorBytes, directoryBytes } = layoutOf(size, true);
    this.#directory = new Uint8Array(directoryBytes);
    const made = { capacity: size, isCompressed: true, zeroGrains: options['zeroed-grain'] ?? false };
    this.#header = (directory) =>
      encodeHeader(made, { descriptor, descriptorBytes, redundantDirectory: 0, directory, data: HEAD_BYTES });
    const cids = { cid: newContentId(() => host.random()), parentCid: NO_PARENT };
    const head = new Uint8Array(HEAD_BYTES);
    head.set(this.#header(null));
    head.set(embeddedDescriptor(options, cids, path), descriptor);
    this.head = [head];
  }

  pack(index: number, unit: Uint8Array, packed: Uint8Array): Promise<number> {
    return packGrain(this.#host, index * GRAIN_BYTES, unit, packed);
  }

  *add(index: number, bytes: number): Generator<Uint8Array> {
    const table = Math.floor(index / TABLE_ENTRIES);
    if (table !== this.#tableNumber) {
      yield* this.#endTable();
      this.#tableNumber = table;
    }
    putPlace(this.#table, index % TABLE_ENTRIES, this.#take(bytes));
  }

  *end(): Generator<Uint8Array> {
    yield* this.#endTable();
    yield encodeMarker(MarkerType.directory, this.#directory.length);
    this.#take(SECTOR_BYTES);
    const directory = this.#take(this.#directory.length);
    yield this.#directory;
    yield encodeMarker(MarkerType.footer, SECTOR_BYTES);
    yield this.#header(directory);
    yield encodeMarker(MarkerType.end, 0);
    this.#take(3 * SECTOR_BYTES);
  }

  *#endTable(): Generator<Uint8Array> {
    if (this.#tableNumber < 0) return;
    yield encodeMarker(MarkerType.table, TABLE_BYTES);
    this.#take(SECTOR_BYTES);
    putPlace(this.#directory, this.#tableNumber, this.#take(TABLE_BYTES));
    yield this.#table.slice();
    this.#table.fill(0);
  }

  /** The place of the next `bytes`. */
  #take(bytes: number): number {
    const place = this.#end;
    checkFits(this.#path, place, bytes);
    this.#end += bytes;
    return place;
  }
}

function putPlace(table: Uint8Array, index: number, place: number): void {
  viewOf(table).setUint32(index * ENTRY_BYTES, place / SECTOR_BYTES, true);
}
