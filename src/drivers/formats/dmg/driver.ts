// dmg: a disk image of Apple, which is only read.

import type { Abilities } from '../../../block/abilities.js';
import { formatNodeName } from '../../../block/filename.js';
import type { Graph } from '../../../block/graph.js';
import type { BlockNode, NodeOptions } from '../../../block/node/node.js';
import { ReadOnlyFormatNode } from '../../../block/node/read-only-format.js';
import type { Permissions } from '../../../block/roles.js';
import type { ZeroScan } from '../../../host/host.js';
import { BlockError } from '../../../util/errors.js';
import { checkData } from './check-data.js';
import { ChunkMap } from './chunk-map.js';
import { ChunkReader } from './chunk-reader.js';
import { isReadable } from './chunks.js';
import { Kind } from './header.js';
import type { Layout } from './layout.js';
import { missingCodec } from './unpack.js';

export class DmgNode extends ReadOnlyFormatNode {
  override readonly driver = 'dmg';
  override readonly filename: string;
  readonly #chunks: ChunkMap;
  readonly #reader: ChunkReader;

  constructor(graph: Graph, node: NodeOptions, file: BlockNode, layout: Layout, permissions: Permissions) {
    super(graph, node);
    this.filename = formatNodeName(this.driver, {}, file);
    this.#chunks = new ChunkMap(layout.resources, layout.header.dataOffset, file.filename);
    this.length = layout.header.size;
    this.setChild('file', file, 'image', permissions);
    this.#reader = new ChunkReader(() => this.primary!, this.host);
  }

  override get abilities(): Abilities {
    return { checkData: (report) => checkData(this.primary!, this.host, this.#reader, report) };
  }

  /** Says which chunks cannot be read, in QEMU's words for those that it does not know either, and which library is missing. */
  warnOfUnreadable(): void {
    const warn = (what: string, reason = ''): void =>
      this.graph.warn(`warning: Image contains chunks ${what}, accessing them will result in I/O errors${reason}`);
    for (const kind of this.#chunks.kinds) {
      if (kind === Kind.lzfse) warn('compressed by lzfse');
      else if (!isReadable(kind)) warn(`of unknown type ${kind.toString(16)}`);
      else {
        const missing = missingCodec(this.host.codecs, kind);
        if (missing !== null) warn(`of type ${kind.toString(16)}`, `: ${missing}`);
      }
    }
  }

  protected override async doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    for (let done = 0; done < buffer.length; ) {
      const at = offset + done;
      const chunk = this.#chunks.at(at);
      if (chunk === null) throw this.#noChunk(at);
      const part = buffer.subarray(done, done + chunk.until - at);
      await this.#reader.read(chunk, at - chunk.start, part);
      done += part.length;
    }
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  #noChunk(offset: number): BlockError {
    const several = this.#chunks.isClaimedTwice(offset);
    const reason = several ? 'chunks overlap there, and none can be trusted' : 'no chunk holds it';
    return BlockError.at(this.filename, 'corrupt-image', `Byte ${offset} of the disk: ${reason}`, {
      operation: 'read',
    });
  }
}
