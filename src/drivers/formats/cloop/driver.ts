// cloop: a compressed loop image of Linux, which is only read. The block that was decompressed last is kept: whoever reads in order decompresses each block once.

import type { Graph } from '../../../block/graph.js';
import type { BlockNode, NodeOptions } from '../../../block/node/node.js';
import { ReadOnlyFormatNode } from '../../../block/node/read-only-format.js';
import type { Permissions } from '../../../block/roles.js';
import type { ZeroScan } from '../../../host/host.js';
import { adler32 } from '../../../util/adler32.js';
import { BlockError } from '../../../util/errors.js';
import { type Header, Offsets, parseHeader } from './header.js';

/** Of a zlib stream: two bytes before the deflated data, a checksum of four bytes behind it (RFC 1950). */
const ZLIB_HEAD_BYTES = 2;
const ZLIB_TAIL_BYTES = 4;

export class CloopNode extends ReadOnlyFormatNode {
  override readonly driver = 'cloop';
  override readonly filename: string;
  readonly #header: Header;
  readonly #offsets: Offsets;
  #kept: { index: number; content: Promise<Uint8Array> } | null = null;

  constructor(
    graph: Graph,
    node: NodeOptions,
    file: BlockNode,
    head: Uint8Array,
    offsets: Uint8Array,
    permissions: Permissions,
  ) {
    super(graph, node);
    this.filename = file.filename;
    this.#header = parseHeader(head, file.filename);
    this.#offsets = new Offsets(offsets, this.#header, file.filename);
    this.length = this.#header.blocks * this.#header.blockBytes;
    this.setChild('file', file, 'image', permissions);
  }

  protected override async doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    const { blockBytes } = this.#header;
    for (let done = 0; done < buffer.length; ) {
      const at = offset + done;
      const within = at % blockBytes;
      const content = await this.#block((at - within) / blockBytes);
      const part = content.subarray(within, within + buffer.length - done);
      buffer.set(part, done);
      done += part.length;
    }
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  #block(index: number): Promise<Uint8Array> {
    if (this.#kept?.index === index) return this.#kept.content;
    const content = this.#readBlock(index);
    const kept = { index, content };
    this.#kept = kept;
    content.catch(() => {
      if (this.#kept === kept) this.#kept = null;
    });
    return content;
  }

  async #readBlock(index: number): Promise<Uint8Array> {
    const start = this.#offsets.at(index);
    const end = this.#offsets.at(index + 1);
    const file = this.primary!;
    const broken = (reason: string): BlockError =>
      BlockError.at(this.filename, 'corrupt-image', `Block ${index}: ${reason}`, { offset: start, operation: 'read' });
    if (end > file.length) throw broken('it lies beyond the end of the file');
    const stored = new Uint8Array(end - start);
    if (stored.length < ZLIB_HEAD_BYTES + ZLIB_TAIL_BYTES) throw broken('it is too short for compressed data');
    await file.read(start, stored);
    const view = new DataView(stored.buffer);
    const head = view.getUint16(0);
    // Deflate, and no dictionary.
    if ((head & 0x0f20) !== 0x0800 || head % 31 !== 0) throw broken('it is no stream of zlib');
    const content = new Uint8Array(this.#header.blockBytes);
    await this.host.codecs.decompress('zlib', stored.subarray(ZLIB_HEAD_BYTES), content);
    if (adler32(content) !== view.getUint32(stored.length - ZLIB_TAIL_BYTES)) throw broken('its checksum is wrong');
    return content;
  }
}
