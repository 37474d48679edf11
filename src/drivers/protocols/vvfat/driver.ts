// vvfat: a folder of the host, shown as a disk with a FAT file system. It is looked through when it is opened; tables and directories are made then, and files are
// read when they are asked for.

import type { Graph } from '../../../block/graph.js';
import type { NodeOptions } from '../../../block/node/node.js';
import { ProtocolNode } from '../../../block/node/protocol.js';
import { isReadOnly } from '../../../block/node/read-only-format.js';
import type { NodeChange, PreparedReopen } from '../../../block/node/reopening.js';
import type { BlockStatus } from '../../../block/types.js';
import type { HostFolder, ZeroScan } from '../../../host/host.js';
import { FolderFiles } from './files.js';
import { type Geometry, SECTOR_BYTES } from './geometry.js';
import { type Region, type Span, spanAt, spansOf } from './layout.js';

export class VvfatNode extends ProtocolNode {
  override readonly driver = 'vvfat';
  override readonly filename: string;
  readonly #folder: HostFolder;
  readonly #files: FolderFiles;
  readonly #regions: readonly Region[];
  /** Where there is data. */
  readonly #data: readonly Span[];

  /** `filename`: the name that opens it again. The node closes the folder. */
  constructor(
    graph: Graph,
    options: NodeOptions,
    filename: string,
    folder: HostFolder,
    geometry: Geometry,
    regions: readonly Region[],
  ) {
    super(graph, options);
    this.filename = filename;
    this.#folder = folder;
    this.#files = new FolderFiles(folder);
    this.#regions = regions;
    this.#data = spansOf(regions);
    this.length = geometry.diskSectors * SECTOR_BYTES;
  }

  /** As QEMU: the files of a folder are no storage of the disk. */
  override async allocatedBytes(): Promise<null> {
    return null;
  }

  override get fixedSize(): boolean {
    return true;
  }

  override blockStatusSync(offset: number, length: number): BlockStatus {
    const end = offset + length;
    const span = this.#data.at(spanAt(this.#data, offset));
    const isData = span !== undefined && span.start <= offset;
    const until = isData ? span.end : (span?.start ?? end);
    return {
      length: Math.min(until, end) - offset,
      allocated: true,
      data: isData,
      zero: !isData,
      compressed: false,
      offset: -1,
      node: null,
    };
  }

  protected override async doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    return this.blockStatusSync(offset, length);
  }

  protected override async doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    const end = offset + buffer.length;
    let at = offset;
    for (let index = spanAt(this.#regions, offset); at < end; index++) {
      const region = this.#regions.at(index);
      const start = Math.min(region?.start ?? end, end);
      if (start > at) {
        buffer.fill(0, at - offset, start - offset);
        at = start;
      }
      if (region === undefined || at >= end) continue;
      const part = buffer.subarray(at - offset, Math.min(region.end, end) - offset);
      const { content } = region;
      const within = at - region.start;
      if (content instanceof Uint8Array) fill(part, content.subarray(within));
      else await this.#files.read(content, within, part);
      at += part.length;
    }
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  override async prepareReopen({ readOnly }: NodeChange): Promise<PreparedReopen | null> {
    if (readOnly === false) throw isReadOnly(this.filename);
    return null;
  }

  protected override async doClose(): Promise<void> {
    try {
      await this.#files.close();
    } finally {
      await this.#folder.close();
    }
  }
}

/** Copies the start of `source`, and zeroes behind it. */
function fill(target: Uint8Array, source: Uint8Array): void {
  target.fill(0, Math.min(source.length, target.length));
  target.set(source.subarray(0, target.length));
}
