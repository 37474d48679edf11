// compress: what is written is stored compressed, as a backup or a conversion with compression does it. The node below takes whole clusters, so that a
// write of less is made one of whole clusters: what is there already is read, changed in part, and compressed again.

import { skipFilters } from '../../block/chain.js';
import { takesCompressed } from '../../block/compression.js';
import { FilterNode } from '../../block/node/filter.js';
import type { BlockNode } from '../../block/node/node.js';
import type { OpenRequest } from '../../block/registry.js';
import type { Compression, Located, WriteFlags } from '../../block/types.js';
import type { ZeroScan } from '../../host/host.js';
import { BlockError } from '../../util/errors.js';

class CompressNode extends FilterNode {
  override readonly driver = 'compress';
  override readonly reopens = false;

  constructor({ graph, node }: OpenRequest<'compress'>, file: BlockNode) {
    super(graph, node, 'compress', {}, file);
    this.requestAlignment = Math.max(1, file.clusterBytes);
  }

  override get abilities() {
    return this.passedDetails;
  }

  /** It compresses by itself. */
  override get compression(): Compression {
    return 'taken';
  }

  /** What is to be compressed goes nowhere straight. */
  protected override doLocate(offset: number, length: number, write: boolean, into: Located): boolean {
    return !write && super.doLocate(offset, length, write, into);
  }

  /** A cluster at the end of the disk may be short. */
  protected override async doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    const inside = Math.min(buffer.length, this.below.length - offset);
    if (inside === buffer.length) return super.doRead(offset, buffer, scan);
    await super.doRead(offset, buffer.subarray(0, inside));
    buffer.fill(0, inside);
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  protected override doWrite(offset: number, buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    const inside = Math.min(buffer.length, this.below.length - offset);
    return super.doWrite(offset, buffer.subarray(0, inside), { ...flags, compressed: true });
  }

  protected override async doReserve(offset: number, length: number, ahead: number): Promise<number> {
    const inside = Math.min(length, this.below.length - offset);
    return super.doReserve(offset, inside, length === inside ? ahead : 0);
  }
}

export async function openCompress(request: OpenRequest<'compress'>): Promise<BlockNode> {
  const file = await request.openChild('file', null, 'filtered');
  const { driver, filename } = skipFilters(file);
  if (!takesCompressed(file)) {
    const message = `Compression is not supported for underlying format: ${driver}`;
    throw new BlockError('unsupported', message, { path: filename });
  }
  return new CompressNode(request, file);
}
