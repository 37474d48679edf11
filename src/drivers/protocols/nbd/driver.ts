// nbd: an export of an NBD server, as a disk.
//
//   node --requests that the server accepts as they are--> client --> server
//        --too large, beyond the end--> RequestSplitter --in pieces--^

import type { Abilities } from '../../../block/abilities.js';
import type { Graph } from '../../../block/graph.js';
import { checkImageSize } from '../../../block/image-size.js';
import type { NodeOptions } from '../../../block/node/node.js';
import { ProtocolNode } from '../../../block/node/protocol.js';
import type { NodeChange, PreparedReopen } from '../../../block/node/reopening.js';
import type { OpenRequest } from '../../../block/registry.js';
import { netAddressOf } from '../../../block/socket-address.js';
import type { BlockStatus, Extent, MovePlace, WriteFlags, ZeroFlags } from '../../../block/types.js';
import type { ZeroScan } from '../../../host/host.js';
import type { BlockdevOptionsNbd } from '../../../schema/generated/types.js';
import { orElse } from '../../../util/best-effort.js';
import { BlockError } from '../../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { AllocationState, Command, CommandFlag, TransmissionFlag } from '../../../wire/nbd/constants.js';
import { NbdClient } from './client.js';
import { FileSender } from './file-sender.js';
import { formatNbdName } from './name.js';
import { MAX_RANGE_BYTES, RequestSplitter } from './request-splitter.js';
import { StatusCache, StatusRuns } from './status.js';

const MAX_CONNECTIONS = 16;

export class NbdNode extends ProtocolNode {
  override readonly driver = 'nbd';
  override readonly filename: string;
  /** The path of a UNIX socket, and the export's name; null for any other address. */
  readonly #socket: { path: string; name: string } | null;
  readonly #client: NbdClient;
  readonly #splitter: RequestSplitter;
  readonly #receiver: FileSender;
  readonly #status = new StatusCache();
  /** Requests of at most so many bytes need not be split. */
  readonly #plainLimit: number;
  readonly #size: number;
  /** Something was written since the last flush. */
  #dirty = false;

  constructor(graph: Graph, options: NodeOptions, own: BlockdevOptionsNbd, client: NbdClient) {
    super(graph, options);
    const filename = formatNbdName(own);
    this.filename = filename;
    const { server } = own;
    this.#socket =
      server.type === 'unix' && server.abstract !== true ? { path: server.path, name: own.export ?? '' } : null;
    this.#client = client;
    this.#splitter = new RequestSplitter(graph.host, client, filename);
    this.#receiver = new FileSender(graph.host, client, (action) => this.#changing(action));
    this.#plainLimit = client.identity.maxPayload;
    this.requestAlignment = client.identity.minBlock;
    this.#size = client.identity.size;
    // The node has whole sectors; the part of the last one that the export does not have reads as zeroes.
    this.length = roundUp(this.#size, SECTOR_BYTES);
  }

  /** For a UNIX socket the id is made from the socket's inode: the same socket may have several paths. */
  override async storageId(): Promise<string> {
    if (this.#socket === null) return this.filename;
    const { path, name } = this.#socket;
    const info = await this.host.stat(path).catch(orElse('socket of an export', null));
    return info === null ? this.filename : `nbd:${info.id}:${name}`;
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#client.openConnections;
  }

  override get fixedSize(): boolean {
    return true;
  }

  protected override get handlesFua(): boolean {
    return this.#client.has(TransmissionFlag.sendFua);
  }

  protected override doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    const { length } = buffer;
    const reading = this.#isPlain(offset, length)
      ? this.#client.request(Command.read, 0, offset, length, buffer, 0)
      : this.#splitter.read(offset, buffer);
    return scan === undefined ? reading : this.#scanned(reading, buffer, scan);
  }

  protected override async doWrite(offset: number, buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    const fua = flags.fua === true && this.handlesFua;
    await this.#changing(() =>
      this.#isPlain(offset, buffer.length) && this.host.memory.owns(buffer)
        ? this.#splitter.writePlain(offset, buffer, fua)
        : this.#splitter.write(offset, buffer, fua),
    );
  }

  /** Data that lies in files is sent from there; without a zero test, for which it has to be read. */
  protected override async doPrepareMove(extents: readonly Extent[], granule: number): Promise<MovePlace | null> {
    const last = extents[extents.length - 1];
    if (granule > 0 || !this.#receiver.usable || last.offset + last.length > this.#size) return null;
    const parts = extents.map(({ offset, length }) => ({ length, to: offset }));
    return { target: this.#receiver, parts, run: null, slice: 0, done: () => {} };
  }

  protected override async doWriteZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    const can = this.#client.has(TransmissionFlag.sendWriteZeroes);
    const fast = this.#client.has(TransmissionFlag.sendFastZero);
    if (flags.noFallback && !(can && fast)) throw this.unsupported('fast writes of zeroes', offset, length);
    if (!can) return super.doWriteZeroes(offset, length, flags);
    await this.#changing(() =>
      this.#splitter.writeZeroes(offset, length, flags, flags.fua === true && this.handlesFua),
    );
  }

  protected override async doDiscard(offset: number, length: number): Promise<void> {
    if (!this.#client.has(TransmissionFlag.sendTrim)) return;
    await this.#changing(() => this.#splitter.discard(offset, length));
  }

  protected override async doFlush(): Promise<void> {
    if (this.cache.noFlush || !this.#client.has(TransmissionFlag.sendFlush)) return;
    this.#dirty = false;
    try {
      // One flush is enough: a server that allows several connections (CAN_MULTI_CONN) flushes what was written over any of them.
      await this.#client.request(Command.flush, 0, 0, 0, null, 0);
    } catch (error) {
      this.#dirty = true;
      throw error;
    }
  }

  override blockStatusSync(offset: number, length: number): BlockStatus | null {
    if (offset >= this.#size) return this.#zeroes(length);
    if (this.#client.identity.contextId < 0) return this.#statusOf(offset, Math.min(length, this.#size - offset), 0);
    const runs = this.#status.at(offset, this.host.clock.now());
    return runs === null ? null : this.#statusIn(runs, offset, length);
  }

  protected override async doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    const known = this.blockStatusSync(offset, length);
    if (known !== null) return known;
    const unit = this.requestAlignment;
    const from = Math.floor(offset / unit) * unit;
    const longest = this.#client.identity.extended ? Number.MAX_SAFE_INTEGER : MAX_RANGE_BYTES;
    const to = Math.min(this.#size, Math.ceil((offset + length) / unit) * unit, from + longest);
    const runs = new StatusRuns(from, to - from);
    const { changes } = this.#status;
    // With a bitmap as context (`x-dirty-bitmap`), data means that nothing was written there, which another writer may change: it is asked for each
    // time. A status that will not be cached is requested for one run only, which saves the server work.
    const single = this.#client.settings.context !== null || this.#status.covers(offset, this.host.clock.now());
    const flags = single ? CommandFlag.reqOne : 0;
    await this.#client.request(Command.blockStatus, flags, from, to - from, null, 0, runs);
    if (runs.find(offset) < 0) {
      throw BlockError.at(this.filename, 'io', 'the block status from the server does not cover the requested offset', {
        operation: 'block status',
        offset,
        length,
      });
    }
    if (!single) this.#status.keep(runs, changes, this.host.clock.now());
    return this.#statusIn(runs, offset, length);
  }

  protected override async doTruncate(size: number): Promise<void> {
    if (size === this.length) return;
    const why = size > this.length ? 'Cannot grow NBD nodes' : 'Cannot resize NBD nodes';
    throw BlockError.at(this.filename, 'unsupported', why, { operation: 'resize' });
  }

  override async prepareReopen({ readOnly, autoReadOnly }: NodeChange): Promise<PreparedReopen | null> {
    if (readOnly !== false || !this.readOnly) return null;
    const { settings } = this.#client;
    const denied = this.#client.has(TransmissionFlag.readOnly);
    if (denied && autoReadOnly !== true) throw readOnlyExport(this.filename);
    return {
      stays: denied ? { readOnly: true } : undefined,
      commit: () => {
        settings.writable = !denied;
      },
      revert: () => {
        settings.writable = false;
      },
    };
  }

  override get abilities(): Abilities {
    return { cut: () => this.#client.cut('the connection was cut', 'ECONNABORTED') };
  }

  override abortStalled(): void {
    this.#client.abortStalled();
  }

  protected override doCancelRequests(): void {
    this.#client.cancelRequests();
  }

  /** Flushes, if something was written, and closes the connections. Rejects where the flush fails. */
  protected override async doClose(): Promise<void> {
    try {
      if (this.#dirty) await this.doFlush();
    } finally {
      await this.#client.close();
    }
  }

  /** True where a read or write can be sent as one request. */
  #isPlain(offset: number, length: number): boolean {
    return length <= this.#plainLimit && length > 0 && offset + length <= this.#size;
  }

  async #scanned(reading: Promise<void>, buffer: Uint8Array, scan: ZeroScan): Promise<void> {
    await reading;
    this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  /** Runs `action`, which changes content: the cached block status is dropped, and one that is requested meanwhile is not cached. */
  async #changing(action: () => Promise<void>): Promise<void> {
    this.#status.forget();
    try {
      await action();
    } finally {
      this.#dirty = true;
      this.#status.forget();
    }
  }

  #statusIn(runs: StatusRuns, offset: number, length: number): BlockStatus {
    const run = runs.find(offset);
    return this.#statusOf(offset, Math.min(length, runs.endOf(run) - offset), runs.flagsOf(run));
  }

  #statusOf(offset: number, length: number, flags: number): BlockStatus {
    const data = (flags & AllocationState.hole) === 0;
    const zero = (flags & AllocationState.zero) !== 0;
    const allocated = data || zero;
    return {
      length,
      allocated,
      data,
      zero,
      compressed: false,
      offset: allocated ? offset : -1,
      node: allocated ? this : null,
    };
  }

  #zeroes(length: number): BlockStatus {
    return { length, allocated: true, data: false, zero: true, compressed: false, offset: -1, node: null };
  }
}

function readOnlyExport(path: string): BlockError {
  return BlockError.at(path, 'read-only', 'request on write denied: the export is read-only', { operation: 'open' });
}

export async function openNbd({ graph, node, options, autoReadOnly }: OpenRequest<'nbd'>): Promise<NbdNode> {
  const filename = formatNbdName(options);
  const { 'x-multi-conn': connections = 1, 'tls-creds': creds, 'tls-hostname': hostname } = options;
  if (connections < 1 || connections > MAX_CONNECTIONS) {
    throw new BlockError('invalid-argument', `Parameter 'x-multi-conn' must be from 1 to ${MAX_CONNECTIONS}`);
  }
  if (hostname !== undefined && creds === undefined) {
    throw new BlockError('invalid-argument', 'tls-hostname needs tls-creds', { path: filename });
  }
  const address = netAddressOf(options.server);
  const settings = creds === undefined ? null : graph.objects.tls(creds, 'client');
  const tls = settings === null ? null : { ...settings, hostname: hostname ?? hostOf(options) };
  if (tls?.kind === 'x509' && tls.verifyPeer && tls.hostname === undefined) {
    throw new BlockError('invalid-argument', 'No hostname for certificate validation', { path: filename });
  }
  const client = await NbdClient.open(graph.host, {
    path: filename,
    address,
    exportName: options.export ?? '',
    tls,
    context: options['x-dirty-bitmap'] ?? null,
    connections,
    reconnectDelayMs: (options['reconnect-delay'] ?? 0) * 1000,
    openTimeoutMs: (options['open-timeout'] ?? 0) * 1000,
    writable: !node.readOnly,
  });
  try {
    const { size, minBlock } = client.identity;
    if (size % minBlock !== 0) {
      throw BlockError.at(
        filename,
        'unsupported',
        `the size of the export, ${size} bytes, is not a multiple of its minimum block size, ${minBlock} bytes`,
        { operation: 'open' },
      );
    }
    checkImageSize(roundUp(size, SECTOR_BYTES), filename, 'open');
    let { readOnly } = node;
    if (!readOnly && client.has(TransmissionFlag.readOnly)) {
      if (!autoReadOnly) throw readOnlyExport(filename);
      readOnly = true;
      client.settings.writable = false;
    }
    return new NbdNode(graph, { ...node, readOnly }, options, client);
  } catch (error) {
    await client.close();
    throw error;
  }
}

function hostOf({ server }: BlockdevOptionsNbd): string | undefined {
  return server.type === 'inet' ? server.host : undefined;
}
