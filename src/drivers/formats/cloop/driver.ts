// cloop: a compressed loop image of Linux, which is only read. The block that was decompressed last is kept: whoever reads in order decompresses each block once.

import { formatNodeName } from '../../../block/filename.js';
import type { Graph } from '../../../block/graph.js';
import type { BlockNode, NodeOptions } from '../../../block/node/node.js';
import { ReadOnlyFormatNode } from '../../../block/node/read-only-format.js';
import type { Permissions } from '../../../block/roles.js';
import type { ZeroScan } from '../../../host/host.js';
import { BlockError, toBlockError } from '../../../util/errors.js';
import { Serial } from '../../../util/serial.js';
import { type Header, Offsets, parseHeader } from './header.js';

/** Blocks of more bytes, stored or not, are read one after the other: many at once would take all of the memory that requests have. */
const LARGE_BYTES = 4 << 20;

export class CloopNode extends ReadOnlyFormatNode {
  override readonly driver = 'cloop';
  override readonly filename: string;
  readonly #header: Header;
  readonly #offsets: Offsets;
  readonly #large = new Serial();
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
    this.filename = formatNodeName(this.driver, {}, file);
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
    const isLarge = Math.max(this.#header.blockBytes, this.#storedBytes(index)) > LARGE_BYTES;
    const content = isLarge ? this.#large.run(() => this.#readBlock(index)) : this.#readBlock(index);
    const kept = { index, content };
    this.#kept = kept;
    content.catch(() => {
      if (this.#kept === kept) this.#kept = null;
    });
    return content;
  }

  #storedBytes(index: number): number {
    return this.#offsets.at(index + 1) - this.#offsets.at(index);
  }

  async #readBlock(index: number): Promise<Uint8Array> {
    const start = this.#offsets.at(index);
    const end = start + this.#storedBytes(index);
    const file = this.primary!;
    const broken = (reason: string): BlockError =>
      BlockError.at(this.filename, 'corrupt-image', `Block ${index}: ${reason}`, { offset: start, operation: 'read' });
    if (end > file.length) throw broken('it lies beyond the end of the file');
    const stored = new Uint8Array(end - start);
    await file.read(start, stored);
    const content = new Uint8Array(this.#header.blockBytes);
    await this.host.codecs.decompress('zlib-stream', stored, content).catch((error: unknown) => {
      const { code, reason } = toBlockError(error);
      throw code === 'invalid-image' ? broken(reason) : error;
    });
    return content;
  }
}
