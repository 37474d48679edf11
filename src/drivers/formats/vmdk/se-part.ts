// An seSparse extent, whose grains the tables place in its file. It is only read.

import type { CheckFinding } from '../../../block/finding.js';
import type { BlockStatus, Extent, Located, MovePlace, ZeroFlags } from '../../../block/types.js';
import type { VmdkExtentInfo } from '../../../schema/generated/types.js';
import { SECTOR_BYTES } from '../../../util/numbers.js';
import type { ImageFile } from '../../image-file.js';
import { BlockRequests } from '../blocks/requests.js';
import type { Part } from './part.js';
import { SE_GRAIN_BYTES, type SeHeader } from './se-header.js';
import { SeTables } from './se-tables.js';
import type { SparseOwner } from './sparse-part.js';

export class SePart implements Part {
  readonly length: number;
  readonly grainBytes = SE_GRAIN_BYTES;
  readonly info: VmdkExtentInfo;
  readonly #tables: SeTables;
  readonly #requests: BlockRequests;

  constructor(file: ImageFile, header: SeHeader, length: number, owner: SparseOwner) {
    this.length = length;
    this.info = { 'virtual-size': length, filename: file.path, 'cluster-size': SE_GRAIN_BYTES, format: 'SESPARSE' };
    const tables = new SeTables(file, header);
    this.#tables = tables;
    this.#requests = new BlockRequests({
      blockBytes: SE_GRAIN_BYTES,
      length,
      file,
      tables,
      space: tables,
      memory: owner.memory,
      get below() {
        return owner.below();
      },
      hasZeroBlocks: true,
      holesAreAllocated: false,
      looksIntoFile: false,
      commit: () => this.commit(),
      writeData: (offset, bytes, flags) => owner.writeData(offset, bytes, flags),
    });
  }

  locate(offset: number, length: number, write: boolean, into: Located): boolean {
    return !write && this.#requests.locate(offset, length, write, into);
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

  // The tables refuse what follows: an image with an extent of this kind is never opened to be written.

  write(offset: number, buffer: Uint8Array): Promise<void> {
    return this.#requests.write(offset, buffer);
  }

  writeZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    return this.#requests.writeZeroes(offset, length, flags);
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#requests.discard(offset, length);
  }

  prepareMove(extents: readonly Extent[], granule: number): Promise<MovePlace | null> {
    return this.#requests.prepareMove(extents, granule);
  }

  async commit(): Promise<void> {}

  async trim(): Promise<void> {}

  clear(): void {
    this.#tables.clear();
  }

  /** Looks at all entries; `start`: where the part begins on the disk. Each finding is one call of `report`. Resolves with their number. Rejects with `io`. */
  async check(start: number, report: (finding: CheckFinding) => void): Promise<number> {
    let found = 0;
    const find = (finding: Pick<CheckFinding, 'kind' | 'index'> & { guestOffset?: number }): void => {
      found++;
      report({ ...finding, severity: 'corruption' } as CheckFinding);
    };
    for await (const bad of this.#tables.badEntries(Math.ceil(this.length / SE_GRAIN_BYTES))) {
      if (bad.isTable) find({ kind: 'vmdk-table-misplaced', index: bad.index });
      else {
        const guestOffset = start + bad.index * SE_GRAIN_BYTES;
        find({ kind: 'vmdk-grain-beyond-end', index: guestOffset / SECTOR_BYTES, guestOffset });
      }
    }
    return found;
  }
}
