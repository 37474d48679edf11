// vvfat: a folder of the host, shown as a disk with a FAT file system. It is looked through when it is opened; tables and directories are made then, and files are
// read when they are asked for.
//
//   written sectors   scratch.ts
//        else         tables and directories as they were made, files of the folder (files.ts), zeroes

import type { Graph } from '../../../block/graph.js';
import type { NodeOptions } from '../../../block/node/node.js';
import { ProtocolNode } from '../../../block/node/protocol.js';
import { isReadOnly } from '../../../block/node/read-only-format.js';
import type { NodeChange, PreparedReopen } from '../../../block/node/reopening.js';
import type { BlockStatus } from '../../../block/types.js';
import type { HostFolder, ZeroScan } from '../../../host/host.js';
import { SharedLock } from '../../../util/shared-lock.js';
import { FolderFiles } from './files.js';
import { type Geometry, SECTOR_BYTES } from './geometry.js';
import { type Region, type Span, spanAt, spansOf } from './layout.js';
import type { Scan } from './scan.js';
import type { Scratch } from './scratch.js';
import { WriteBack } from './write-back.js';

/** What a disk that is written to has beside the folder. */
export interface Writing {
  scratch: Scratch;
  scan: Scan;
}

export class VvfatNode extends ProtocolNode {
  override readonly driver = 'vvfat';
  override readonly filename: string;
  readonly #folder: HostFolder;
  readonly #files: FolderFiles;
  readonly #regions: readonly Region[];
  /** Where there is data. */
  readonly #data: readonly Span[];
  readonly #scratch: Scratch | null;
  readonly #writeBack: WriteBack | null;
  /** Requests hold it together; who changes the folder holds it alone. */
  readonly #lock = new SharedLock();

  /** `filename`: the name that opens it again. The node closes the folder and the scratch file. `writing`: null where it is only read. */
  constructor(
    graph: Graph,
    options: NodeOptions,
    filename: string,
    folder: HostFolder,
    geometry: Geometry,
    regions: readonly Region[],
    writing: Writing | null,
  ) {
    super(graph, options);
    this.filename = filename;
    this.requestAlignment = SECTOR_BYTES;
    this.#folder = folder;
    this.#files = new FolderFiles(folder);
    this.#regions = regions;
    this.#data = spansOf(regions);
    this.length = geometry.diskSectors * SECTOR_BYTES;
    this.#scratch = writing?.scratch ?? null;
    const read = (offset: number, buffer: Uint8Array) => this.#read(offset, buffer);
    const random = () => this.host.random();
    this.#writeBack =
      writing === null
        ? null
        : new WriteBack(writing.scan, {
            folder,
            geometry,
            scratch: writing.scratch,
            spans: regions,
            read,
            random,
            warn: graph.warn,
          });
  }

  /** As QEMU: the files of a folder are no storage of the disk. */
  override async allocatedBytes(): Promise<null> {
    return null;
  }

  override get fixedSize(): boolean {
    return true;
  }

  override blockStatusSync(offset: number, length: number): BlockStatus {
    let end = offset + length;
    let isData = true;
    const written = this.#scratch?.runAt(offset, end);
    if (written !== undefined) end = written.end;
    if (!written?.held) {
      const span = this.#data.at(spanAt(this.#data, offset));
      isData = span !== undefined && span.start <= offset;
      end = Math.min(end, isData ? span!.end : (span?.start ?? end));
    }
    return {
      length: end - offset,
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
    await this.#lock.share(() => this.#read(offset, buffer));
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  protected override doWrite(offset: number, buffer: Uint8Array): Promise<void> {
    return this.#lock.share(() => this.#scratch!.write(offset, buffer));
  }

  protected override async doFlush(): Promise<void> {
    if (this.#writeBack !== null && !this.cache.noFlush) await this.#lock.alone(() => this.#writeBack!.flush());
  }

  async #read(offset: number, buffer: Uint8Array): Promise<void> {
    const end = offset + buffer.length;
    for (let at = offset; at < end; ) {
      const run = this.#scratch?.runAt(at, end) ?? { held: false, end };
      const part = buffer.subarray(at - offset, run.end - offset);
      if (run.held) await this.#scratch!.read(at, part);
      else await this.#readFolder(at, part);
      at = run.end;
    }
  }

  async #readFolder(offset: number, buffer: Uint8Array): Promise<void> {
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
  }

  override async prepareReopen({ readOnly }: NodeChange): Promise<PreparedReopen | null> {
    if (readOnly === false && this.#scratch === null) throw isReadOnly(this.filename);
    return null;
  }

  /** All is closed, whatever fails. Rejects where what was written cannot be brought to the folder. */
  protected override async doClose(): Promise<void> {
    const failures: unknown[] = [];
    const attempt = (action: () => Promise<void>) => action().catch((error: unknown) => failures.push(error));
    if (this.#writeBack !== null) await attempt(() => this.#writeBack!.finish());
    await attempt(() => this.#files.close());
    if (this.#scratch !== null) await attempt(() => this.#scratch!.close());
    await attempt(() => this.#folder.close());
    if (failures.length > 0) throw failures[0];
  }
}

/** Copies the start of `source`, and zeroes behind it. */
function fill(target: Uint8Array, source: Uint8Array): void {
  target.fill(0, Math.min(source.length, target.length));
  target.set(source.subarray(0, target.length));
}
