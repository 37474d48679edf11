// Creates a new, empty qcow2 image in an empty file. The layout is planned first (create-plan.ts), then everything is written once. The header is
// written last, after a flush: an interrupted creation leaves a file that is not a qcow2 image, rather than a broken image.

import type { Child } from '../../../block/child.js';
import { makeRoom, removeContent } from '../../../block/create.js';
import type { NewVolume } from '../luks/volume.js';
import { cryptPlace, type Layout, place, planQcow2, preallocationOf, type Qcow2CreateOptions } from './create-plan.js';
import { makeL2Codec } from './l2-extended.js';
import { POINTER_BYTES, putPointer } from './pointer-codec.js';
import { fillRefcounts } from './refcount-codec.js';
import { TableMath } from './table-math.js';

/** A table is written in pieces of at most so many bytes. */
const CHUNK_BYTES = 1 << 20;

/**
 * Writes a new image into `file`, in the place of what it holds. Resolves when the image is durable.
 * `dataFile`: the external data file; `volume`: the LUKS header of an encrypted image. Throws `invalid-argument`, `unsupported` (options), `limit`, `no-space`, `io`.
 */
export async function createQcow2(
  file: Child,
  dataFile: Child | null,
  options: Qcow2CreateOptions,
  volume: NewVolume | null = null,
): Promise<void> {
  const { layout, headerBytes } = planQcow2(file.filename, options);
  const { clusterSize } = layout.geometry;
  const l1Offset = (1 + layout.tableClusters + layout.blocks) * clusterSize;
  const l1IsLast = layout.l2Tables === 0 && layout.cryptClusters === 0;
  const metadataEnd = l1IsLast
    ? l1Offset + layout.l1Entries * 8
    : l1Offset + (layout.l1Clusters + layout.cryptClusters) * clusterSize;
  await removeContent(file);
  await makeRoom(file, metadataEnd, metadataEnd);
  const preallocation = preallocationOf(options);
  const dataPreallocation = { preallocation: preallocation === 'metadata' ? 'off' : preallocation } as const;
  if (dataFile !== null) {
    // What an entry maps, and the whole of a raw data file, is the disk's: a device has old bytes there.
    const isShown = options.dataFileRaw === true || layout.l2Tables > 0;
    await makeRoom(dataFile, layout.size, isShown ? layout.size : 0, dataPreallocation);
    await dataFile.flush();
  }
  if (layout.l2Tables > 0) {
    const l2End = (layout.total - layout.dataClusters) * clusterSize;
    await makeRoom(file, l2End, l2End);
    const end = layout.total * clusterSize;
    await makeRoom(file, end, end, dataPreallocation);
  }
  await writeRefcounts(file, layout);
  const pointers =
    (first: number, copied: boolean): Filler =>
    (view, count, index) => {
      for (let i = 0; i < count; i++) putPointer(view, i, place(layout, first + index + i), copied);
    };
  await writeTable(file, clusterSize, layout.blocks, POINTER_BYTES, pointers(1 + layout.tableClusters, false));
  if (layout.l2Tables > 0) {
    const l2Start = layout.total - layout.dataClusters - layout.l2Tables;
    const dataStart = layout.total - layout.dataClusters;
    await writeTable(file, l1Offset, layout.l1Entries, POINTER_BYTES, pointers(l2Start, true));
    const codec = makeL2Codec(layout.geometry, new TableMath(file.node.host.memory), dataFile !== null);
    const first = dataFile === null ? dataStart : 0;
    await writeTable(file, l2Start * clusterSize, layout.mapped, codec.entryBytes, (view, count, index) =>
      codec.putPreallocatedRun(view, 0, count, place(layout, first + index)),
    );
  }
  if (volume !== null) {
    await file.write(cryptPlace(layout) + volume.materialOffset, volume.material);
    await file.write(cryptPlace(layout), volume.header);
  }
  await file.flush();
  await file.write(0, headerBytes);
  await file.flush();
}

/** Blocks in which the first `total` refcounts are one. */
async function writeRefcounts(file: Child, layout: Layout): Promise<void> {
  const { geometry, total } = layout;
  const { clusterSize, blockEntries, refcountOrder } = geometry;
  const perChunk = Math.max(1, CHUNK_BYTES / clusterSize);
  const chunk = new Uint8Array(Math.min(layout.blocks, perChunk) * clusterSize);
  for (let done = 0; done < layout.blocks; done += perChunk) {
    const blocks = Math.min(perChunk, layout.blocks - done);
    const entries = blocks * blockEntries;
    const used = Math.min(entries, total - done * blockEntries);
    if (used < entries) chunk.fill(0);
    fillRefcounts(chunk, refcountOrder, 0, used, 1);
    await file.write((1 + layout.tableClusters + done) * clusterSize, chunk.subarray(0, blocks * clusterSize));
  }
}

/** Makes `count` entries of a table, from entry `index` on, in the first slots of `view`. */
type Filler = (view: DataView, count: number, index: number) => void;

/** A table of `count` entries at `offset`, written in pieces of `CHUNK_BYTES`. */
async function writeTable(file: Child, offset: number, count: number, entryBytes: number, fill: Filler): Promise<void> {
  const chunk = new Uint8Array(Math.min(count * entryBytes, CHUNK_BYTES));
  const view = new DataView(chunk.buffer);
  for (let done = 0; done < count; ) {
    const here = Math.min(count - done, chunk.length / entryBytes);
    fill(view, here, done);
    await file.write(offset + done * entryBytes, chunk.subarray(0, here * entryBytes));
    done += here;
  }
}
