// bochs: a growing image of the emulator Bochs, which is only read.

import { formatNodeName } from '../../../block/filename.js';
import type { Graph } from '../../../block/graph.js';
import type { BlockNode, NodeOptions } from '../../../block/node/node.js';
import { ReadOnlyFormatNode } from '../../../block/node/read-only-format.js';
import type { Permissions } from '../../../block/roles.js';
import type { ZeroScan } from '../../../host/host.js';
import { viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { roundDown, SECTOR_BYTES } from '../../../util/numbers.js';
import { ImageFile } from '../../image-file.js';
import { hasBit } from '../blocks/bits.js';
import { type Header, NONE, parseHeader } from './header.js';

export class BochsNode extends ReadOnlyFormatNode {
  override readonly driver = 'bochs';
  override readonly filename: string;
  override requestAlignment = SECTOR_BYTES;
  readonly #file: ImageFile;
  readonly #header: Header;
  readonly #catalog: DataView;

  /** `catalog`: its bytes. */
  constructor(
    graph: Graph,
    node: NodeOptions,
    file: BlockNode,
    head: Uint8Array,
    catalog: Uint8Array,
    permissions: Permissions,
  ) {
    super(graph, node);
    this.filename = formatNodeName(this.driver, {}, file);
    this.#header = parseHeader(head, file.filename);
    this.#catalog = viewOf(catalog);
    if (catalog.length < 4 * this.#header.entries) {
      throw BlockError.at(this.filename, 'invalid-image', 'The catalog does not lie within the file', {
        operation: 'open',
      });
    }
    this.length = this.#header.size;
    this.setChild('file', file, 'image', permissions);
    this.#file = new ImageFile(() => this.primary!);
  }

  protected override async doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    const { extentBytes } = this.#header;
    for (let done = 0; done < buffer.length; ) {
      const at = offset + done;
      const within = at % extentBytes;
      const length = Math.min(buffer.length - done, extentBytes - within);
      await this.#readExtent((at - within) / extentBytes, within, buffer.subarray(done, done + length));
      done += length;
    }
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  /** A part of one extent: `within` and the length are whole sectors. */
  async #readExtent(index: number, within: number, buffer: Uint8Array): Promise<void> {
    const { catalogOffset, entries, bitmapBytes, extentBytes } = this.#header;
    const place = this.#catalog.getUint32(4 * index, true);
    if (place === NONE) {
      buffer.fill(0);
      return;
    }
    const bitmapAt = catalogOffset + 4 * entries + place * (bitmapBytes + extentBytes);
    if (bitmapAt + bitmapBytes > this.#file.length) {
      const reason = `Extent ${index} lies beyond the end of the file`;
      throw BlockError.at(this.filename, 'corrupt-image', reason, {
        offset: catalogOffset + 4 * index,
        operation: 'read',
      });
    }
    const first = within / SECTOR_BYTES;
    const sectors = buffer.length / SECTOR_BYTES;
    const firstByte = roundDown(first, 8) / 8;
    const bits = new Uint8Array(Math.ceil((first + sectors) / 8) - firstByte);
    await this.#file.read(bitmapAt + firstByte, bits);
    const isSet = (sector: number): boolean => hasBit(bits, sector - firstByte * 8);
    for (let sector = 0; sector < sectors; ) {
      const isData = isSet(first + sector);
      let end = sector + 1;
      while (end < sectors && isSet(first + end) === isData) end++;
      const part = buffer.subarray(sector * SECTOR_BYTES, end * SECTOR_BYTES);
      if (isData) await this.#file.read(bitmapAt + bitmapBytes + within + sector * SECTOR_BYTES, part);
      else part.fill(0);
      sector = end;
    }
  }
}
