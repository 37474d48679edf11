// vpc: a VHD image of fixed size. The disk is the begin of the file, whose last sector is the footer.

import type { Abilities } from '../../../block/abilities.js';
import type { Graph } from '../../../block/graph.js';
import type { NodeOptions } from '../../../block/node/node.js';
import type { NodeChange, PreparedReopen } from '../../../block/node/reopening.js';
import type { Extent, MovePlace } from '../../../block/types.js';
import { BlockError } from '../../../util/errors.js';
import { ImageFile } from '../../image-file.js';
import { BlocksNode } from '../blocks/node.js';
import type { BlockSource, BlockTables } from '../blocks/places.js';
import type { VpcOpening } from './driver.js';
import { FOOTER_BYTES, parseFooter } from './footer.js';
import type { Head } from './head.js';

/** One block, which lies at the begin of the file. */
const IN_PLACE: BlockTables = {
  place: () => 0,
  load: async () => undefined,
  prepare: async () => () => undefined,
  set: () => undefined,
  changedBytes: 0,
};

export class FixedNode extends BlocksNode {
  override readonly driver = 'vpc';
  override readonly filename: string;
  readonly uuid: string;
  override readonly blockBytes: number;
  override readonly file: ImageFile;
  override readonly tables = IN_PLACE;
  override readonly space: BlockSource;

  constructor(graph: Graph, node: NodeOptions, head: Head, { file, filename, size, permissions }: VpcOpening) {
    super(graph, node);
    this.filename = filename;
    this.uuid = parseFooter(head.footer).uuid;
    this.length = size;
    this.blockBytes = Math.max(size, 1);
    this.#refuseShort(file.length, node.readOnly);
    this.setChild('file', file, 'image', permissions);
    this.file = new ImageFile(() => this.primary!);
    this.space = {
      take: () => Promise.reject(this.unsupported('allocate', 0, 0)),
      giveBack: () => undefined,
    };
  }

  /** What lies beyond the end of the file reads as zeroes, as for QEMU; to write there would be to write over the footer. */
  #refuseShort(fileBytes: number, readOnly: boolean): void {
    if (readOnly || this.length + FOOTER_BYTES - 1 <= fileBytes) return;
    throw BlockError.at(
      this.filename,
      'corrupt-image',
      `The file has ${fileBytes} bytes, which is less than the disk of ${this.length}, and its footer: the image is only read`,
      { operation: 'open' },
    );
  }

  override get clusterBytes(): number {
    return 0;
  }

  override get looksIntoFile(): boolean {
    return true;
  }

  /** To where it lies. */
  protected override doPrepareMove(extents: readonly Extent[], granule: number): Promise<MovePlace | null> {
    return this.primary!.prepareMove(extents, granule);
  }

  override commit(): Promise<void> {
    return this.file.flush();
  }

  override get abilities(): Abilities {
    return { details: () => ({ dirty: false }) };
  }

  override async prepareReopen({ readOnly = this.readOnly }: NodeChange): Promise<PreparedReopen | null> {
    this.#refuseShort(this.file.length, readOnly);
    return null;
  }
}
