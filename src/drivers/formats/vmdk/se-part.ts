// An seSparse extent, whose grains the tables place in its file. It is only read.

import type { CheckFinding } from '../../../block/finding.js';
import type { BlockStatus, Located } from '../../../block/types.js';
import type { VmdkExtentInfo } from '../../../schema/generated/types.js';
import { SECTOR_BYTES } from '../../../util/numbers.js';
import type { ImageFile } from '../../image-file.js';
import { BlockReads } from '../blocks/reads.js';
import type { ExtentPlace, Part } from './part.js';
import { SE_GRAIN_BYTES, type SeHeader } from './se-header.js';
import { SeTables } from './se-tables.js';
import type { SparseOwner } from './sparse-part.js';

export class SePart implements Part {
  readonly length: number;
  readonly grainBytes = SE_GRAIN_BYTES;
  readonly compression = 'refused';
  readonly onlyRead = 'No write support for seSparse images available';
  readonly info: VmdkExtentInfo;
  readonly #tables: SeTables;
  readonly #reads: BlockReads;

  constructor(file: ImageFile, header: SeHeader, length: number, owner: Pick<SparseOwner, 'below'>) {
    this.length = length;
    this.info = { 'virtual-size': length, filename: file.path, 'cluster-size': SE_GRAIN_BYTES, format: 'SESPARSE' };
    const tables = new SeTables(file, header);
    this.#tables = tables;
    this.#reads = new BlockReads({
      blockBytes: SE_GRAIN_BYTES,
      file,
      tables,
      get below() {
        return owner.below();
      },
      holesAreAllocated: false,
      looksIntoFile: false,
    });
  }

  locate(offset: number, length: number, write: boolean, into: Located): boolean {
    return !write && this.#reads.locate(offset, length, write, into);
  }

  read(offset: number, buffer: Uint8Array): Promise<void> {
    return this.#reads.read(offset, buffer);
  }

  statusSync(offset: number, length: number): BlockStatus | null {
    return this.#reads.statusSync(offset, length);
  }

  status(offset: number, length: number): Promise<BlockStatus> {
    return this.#reads.status(offset, length);
  }

  clear(): void {
    this.#tables.clear();
  }

  async check({ start, extent }: ExtentPlace, report: (finding: CheckFinding) => void): Promise<number> {
    let found = 0;
    for await (const { isTable, index } of this.#tables.badEntries(Math.ceil(this.length / SE_GRAIN_BYTES))) {
      found++;
      const guestOffset = start + index * SE_GRAIN_BYTES;
      report({
        severity: 'corruption',
        ...(isTable
          ? { kind: 'vmdk-table-misplaced', index, extent }
          : { kind: 'vmdk-grain-beyond-end', index: guestOffset / SECTOR_BYTES, guestOffset }),
      });
    }
    return found;
  }
}
