// ssh: a file on another machine, read and written by SFTP.
//
//   node --pieces, many at once--> SshConnection (what a lost connection means) --> SftpFile

import type { Graph } from '../../../block/graph.js';
import { checkImageSize } from '../../../block/image-size.js';
import type { NodeOptions } from '../../../block/node/node.js';
import { ProtocolNode } from '../../../block/node/protocol.js';
import type { NodeChange, PreparedReopen } from '../../../block/node/reopening.js';
import type { OpenRequest } from '../../../block/registry.js';
import type { BlockStatus, TruncateOptions, WriteFlags, ZeroFlags } from '../../../block/types.js';
import type { ZeroScan } from '../../../host/host.js';
import type { BlockdevOptionsSsh } from '../../../schema/generated/types.js';
import { bestEffort } from '../../../util/best-effort.js';
import { BlockError, toBlockError } from '../../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { settleAll } from '../../../util/settle.js';
import { SshConnection } from './connection.js';
import { formatSshName } from './name.js';
import { openRemote, userOf } from './open-file.js';

/** Bytes of one request: what each server takes that says no more, in fewer round trips than with the 32 KiB that all must take. */
const PIECE_BYTES = 128 << 10;

class SshNode extends ProtocolNode {
  override readonly driver = 'ssh';
  override readonly filename: string;
  readonly #options: BlockdevOptionsSsh;
  #connection: SshConnection;
  /** Bytes of the file; `length` is that, rounded up to whole sectors. */
  #size: number;
  #warned = false;

  constructor(graph: Graph, node: NodeOptions, options: BlockdevOptionsSsh, opened: Opened) {
    super(graph, node);
    this.#options = options;
    this.filename = nameFor(graph, options);
    this.#connection = opened.connection;
    this.#size = opened.size;
    this.length = roundUp(opened.size, SECTOR_BYTES);
  }

  /** How its server is checked makes it no other file. */
  override async storageId(): Promise<string> {
    return storageIdOf(this.graph, this.#options);
  }

  /** What the server needs for it, SFTP does not say. */
  override async allocatedBytes(): Promise<null> {
    return null;
  }

  override get zeroWhenNew(): boolean {
    return true;
  }

  protected override async doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    const inFile = Math.max(0, Math.min(buffer.length, this.#size - offset));
    buffer.fill(0, inFile);
    await this.#inPieces(offset, buffer.subarray(0, inFile), (at, piece) => this.#readPiece(at, piece));
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  /** A server may send fewer bytes than it is asked for. */
  async #readPiece(offset: number, piece: Uint8Array): Promise<void> {
    for (let got = 0; got < piece.length; ) {
      const more = await this.#connection.read(offset + got, piece.subarray(got));
      // Somebody has cut the file.
      if (more === 0) throw this.#error('io', 'read', 'the file on the server ends before its size', offset + got);
      got += more;
    }
  }

  protected override async doWrite(offset: number, buffer: Uint8Array, _flags: WriteFlags): Promise<void> {
    await this.#inPieces(offset, buffer, (at, piece) => this.#connection.write(at, piece));
    this.#size = Math.max(this.#size, offset + buffer.length);
  }

  /** The part of the last sector that the file does not have reads as zeroes already. */
  protected override async doWriteZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    const inside = Math.min(length, this.#size - offset);
    if (inside > 0) await super.doWriteZeroes(offset, inside, flags);
  }

  async #inPieces(
    offset: number,
    buffer: Uint8Array,
    action: (at: number, piece: Uint8Array) => Promise<void>,
  ): Promise<void> {
    if (buffer.length === 0) return;
    try {
      if (buffer.length <= PIECE_BYTES) return await action(offset, buffer);
      const parts: Promise<void>[] = [];
      for (let at = 0; at < buffer.length; at += PIECE_BYTES) {
        parts.push(action(offset + at, buffer.subarray(at, at + PIECE_BYTES)));
      }
      await settleAll(parts);
    } catch (error) {
      throw this.#named(error);
    }
  }

  protected override async doFlush(): Promise<void> {
    if (this.cache.noFlush) return;
    if (!this.#connection.syncs) this.#warnOfFlush();
    try {
      await this.#connection.flush();
    } catch (error) {
      throw this.#named(error);
    }
  }

  /** As QEMU: once, and then it is as good as it gets. */
  #warnOfFlush(): void {
    if (this.#warned || !this.#connection.isDirty) return;
    this.#warned = true;
    const { host } = this.#options.server;
    this.graph.warn(`warning: ssh server ${host} does not support fsync`);
    this.graph.warn('to support fsync, you need OpenSSH >= 6.3');
  }

  protected override async doTruncate(size: number, { preallocation = 'off' }: TruncateOptions): Promise<void> {
    if (preallocation !== 'off') {
      const why = `Unsupported preallocation mode '${preallocation}'`;
      throw new BlockError('unsupported', why, { path: this.filename, operation: 'resize' });
    }
    if (size === this.#size) return;
    const old = this.#size;
    // While the size changes, `#size` is never larger than the file.
    this.#size = Math.min(size, old);
    try {
      await this.#connection.truncate(size);
    } catch (error) {
      // Nothing says how much of it was done, but a file that did not become shorter still has its end.
      this.#size = old;
      throw this.#named(error);
    }
    this.#size = size;
  }

  override blockStatusSync(offset: number, length: number): BlockStatus {
    const isData = offset < this.#size;
    return { length, allocated: true, data: isData, zero: !isData, compressed: false, offset, node: this };
  }

  protected override async doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    return this.blockStatusSync(offset, length);
  }

  /** The file is opened again, since the server knows for what it is open. */
  override async prepareReopen(change: NodeChange): Promise<PreparedReopen | null> {
    const { readOnly, autoReadOnly } = change;
    if (readOnly === undefined || readOnly === this.readOnly) return null;
    if (!this.readOnly) await this.doFlush();
    let opened: Opened;
    let denied = false;
    try {
      opened = await openFile(this.graph, this.#options, readOnly);
    } catch (error) {
      if (readOnly || autoReadOnly !== true || toBlockError(error).code !== 'permission') throw error;
      denied = true;
      opened = await openFile(this.graph, this.#options, true);
    }
    const old = this.#connection;
    return {
      stays: denied ? { readOnly: true } : undefined,
      commit: () => {
        this.#connection = opened.connection;
      },
      revert: () => {
        this.#connection = old;
      },
      finish: () => (this.#connection === old ? opened.connection : old).close(),
    };
  }

  override abortStalled(): void {
    this.#connection.abortStalled();
  }

  protected override doCancelRequests(): void {
    this.#connection.cancel();
  }

  /** Flushes, if something was written, and ends the connection. Rejects where the flush fails. */
  protected override async doClose(): Promise<void> {
    try {
      if (!this.readOnly) await this.doFlush();
    } finally {
      await this.#connection.close();
    }
  }

  #error(code: 'io', operation: string, why: string, offset: number): BlockError {
    return BlockError.at(this.filename, code, why, { operation, offset });
  }

  /** With the name of the file in front. */
  #named(error: unknown): BlockError {
    const reason = toBlockError(error);
    if (reason.path === this.filename || reason.code === 'cancelled') return reason;
    const { code, errno, operation } = reason;
    return BlockError.at(this.filename, code, reason.reason, { errno, operation, cause: error });
  }
}

interface Opened {
  connection: SshConnection;
  size: number;
}

function nameFor(graph: Graph, options: BlockdevOptionsSsh): string {
  return formatSshName(options, userOf(graph, options));
}

/** The same for two nodes whose file has one name. */
export function storageIdOf(graph: Graph, { 'host-key-check': _, ...place }: BlockdevOptionsSsh): string {
  return nameFor(graph, place);
}

async function openFile(graph: Graph, options: BlockdevOptionsSsh, readOnly: boolean): Promise<Opened> {
  const { host } = graph;
  const mode = readOnly ? 'read' : 'write';
  const connect = () => openRemote(graph, options, mode);
  const link = await connect();
  try {
    const known = await link.file.attributes();
    checkImageSize(roundUp(known.size, SECTOR_BYTES), nameFor(graph, options), 'open');
    const pauses = { clock: host.clock, random: () => host.random() };
    return { connection: new SshConnection(nameFor(graph, options), link, known, pauses, connect), size: known.size };
  } catch (error) {
    await link.session.close().catch(bestEffort('closing a connection'));
    throw error;
  }
}

export async function openSsh({ graph, node, options, autoReadOnly }: OpenRequest<'ssh'>): Promise<SshNode> {
  const { readOnly } = node;
  try {
    return new SshNode(graph, node, options, await openFile(graph, options, readOnly));
  } catch (error) {
    if (readOnly || !autoReadOnly || toBlockError(error).operation !== 'open') throw error;
    if (toBlockError(error).code !== 'permission') throw error;
    return new SshNode(graph, { ...node, readOnly: true }, options, await openFile(graph, options, true));
  }
}
