// A sparse extent, whose grains the tables place in its file (blocks/requests.ts).

import type { RepairKind } from '../../../block/abilities.js';
import type { CheckFinding } from '../../../block/finding.js';
import type { BlockStatus, Extent, Located, MovePlace, ZeroFlags } from '../../../block/types.js';
import type { Memory } from '../../../host/host.js';
import type { VmdkExtentInfo } from '../../../schema/generated/types.js';
import { roundUp } from '../../../util/numbers.js';
import type { ImageFile } from '../../image-file.js';
import { Commits } from '../blocks/commits.js';
import type { Below } from '../blocks/places.js';
import { BlockRequests } from '../blocks/requests.js';
import { checkSparse } from './check.js';
import { GrainSpace } from './grain-space.js';
import { GrainTables } from './grain-tables.js';
import { ENTRY_BYTES, HEADER_BYTES, type SparseHeader } from './header.js';
import type { ExtentPlace, WritablePart } from './part.js';
import { repairSparse } from './repair.js';

/** What the extent has from the image that it belongs to. */
export interface SparseOwner {
  readonly memory: Memory;
  /** In the file of the descriptor. */
  readonly descriptorEnd: number;
  /** What lies below this part of the disk; null: nothing. */
  below(): Below | null;
  /** `BlockDisk.writeData`, of this part of the disk. */
  writeData(offset: number, length: number, flags: ZeroFlags): Promise<void>;
}

export class SparsePart implements WritablePart {
  readonly length: number;
  readonly grainBytes: number;
  readonly info: VmdkExtentInfo;
  /** A compressed write goes as any other, as with QEMU. */
  readonly compression = 'taken';
  readonly onlyRead: string | null;
  readonly file: ImageFile;
  readonly header: SparseHeader;
  /** End of the descriptor that lies in the file; 0: none does. */
  readonly descriptorEnd: number;
  readonly #tables: GrainTables;
  readonly #requests: BlockRequests;
  readonly #commits: Commits;
  readonly #space: GrainSpace;
  #hasWholeGrains = false;
  /** It was made empty: end of what is in use of the file, as long as no grain is. */
  #emptyEnd: number | null = null;

  /** `kind`: as the descriptor names the extent; empty for the file that the descriptor lies in. */
  constructor(file: ImageFile, header: SparseHeader, kind: string, length: number, owner: SparseOwner) {
    this.descriptorEnd = kind === '' ? owner.descriptorEnd : 0;
    this.file = file;
    this.header = header;
    this.length = length;
    this.grainBytes = header.grainBytes;
    this.onlyRead = onlyReadOf(header);
    // In qemu-img's order.
    this.info = { 'virtual-size': length, filename: file.path, 'cluster-size': header.grainBytes, format: kind };
    const space = new GrainSpace(file, header.grainBytes);
    this.#space = space;
    this.#tables = new GrainTables(file, header, space, this.descriptorEnd);
    const commits = new Commits({ file, levels: this.#tables.levels });
    this.#commits = commits;
    this.#requests = new BlockRequests({
      blockBytes: header.grainBytes,
      length,
      file,
      tables: this.#tables,
      space,
      memory: owner.memory,
      get below() {
        return owner.below();
      },
      hasZeroBlocks: header.zeroGrains,
      holesAreAllocated: false,
      looksIntoFile: false,
      commit: () => commits.commit(),
      writeData: (offset, bytes, flags) => owner.writeData(offset, bytes, flags),
    });
  }

  /** Before the first write: the file has all of its last grain, which another program may have cut. */
  async #prepare(): Promise<void> {
    if (this.#hasWholeGrains) return;
    const { length } = this.file;
    if (length % this.grainBytes !== 0) await this.file.ensureLength(length + this.grainBytes);
    this.#hasWholeGrains = true;
  }

  locate(offset: number, length: number, write: boolean, into: Located): boolean {
    if (write && !this.#hasWholeGrains) return false;
    return this.#requests.locate(offset, length, write, into);
  }

  read(offset: number, buffer: Uint8Array): Promise<void> {
    return this.#requests.read(offset, buffer);
  }

  statusSync(offset: number, length: number): BlockStatus | null {
    return this.#requests.statusSync(offset, length);
  }

  status(offset: number, length: number): Promise<BlockStatus> {
    return this.#requests.status(offset, length);
  }

  async write(offset: number, buffer: Uint8Array): Promise<void> {
    if (!this.#hasWholeGrains) await this.#prepare();
    await this.#requests.write(offset, buffer);
  }

  async writeZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    if (!this.#hasWholeGrains) await this.#prepare();
    await this.#requests.writeZeroes(offset, length, flags);
  }

  async discard(offset: number, length: number): Promise<void> {
    if (!this.#hasWholeGrains) await this.#prepare();
    await this.#requests.discard(offset, length);
  }

  async prepareMove(extents: readonly Extent[], granule: number): Promise<MovePlace | null> {
    if (!this.#hasWholeGrains) await this.#prepare();
    return this.#requests.prepareMove(extents, granule);
  }

  expect(bytes: number): void {
    this.file.expect(Math.min(bytes, this.length));
  }

  commit(): Promise<void> {
    return this.#commits.commit();
  }

  /** The space of the grains is given back when the image is closed. */
  async makeEmpty(): Promise<void> {
    await this.commit();
    const { directory, redundantDirectory, directoryEntries } = this.header;
    const tables = await this.#tables.empty();
    const directories = Math.max(directory, redundantDirectory ?? 0) + directoryEntries * ENTRY_BYTES;
    this.#emptyEnd = roundUp(Math.max(tables, directories, this.descriptorEnd, HEADER_BYTES), this.grainBytes);
    this.#space.hasTaken = false;
  }

  trim(): Promise<void> {
    return this.file.trim();
  }

  dropUnused(): Promise<void> {
    if (this.#emptyEnd === null || this.#space.hasTaken) return this.#space.dropSpare();
    return this.file.cut(Math.min(this.#emptyEnd, this.file.length));
  }

  check(place: ExtentPlace, report: (finding: CheckFinding) => void, kind?: RepairKind): Promise<number> {
    return checkSparse(this, place, report, kind);
  }

  repair(): Promise<void> {
    return repairSparse(this);
  }

  /** Tables are read anew. */
  clear(): void {
    this.#tables.clear();
  }
}

function onlyReadOf({ isCowd, version }: SparseHeader): string | null {
  if (isCowd) return 'A sparse VMDK extent of ESX is only read';
  return version >= 3 ? `VMDK version ${version} must be read only` : null;
}
