// The client of one export: it distributes requests over one or several connections, and reconnects those that are lost.
//
//   request -> slot (or wait for one) -> the connection with the fewest requests -> reply
//                                     -> no connection is open: wait, for at most `reconnect-delay` after the loss; then requests fail at once
//
//   lost -> attempt, pause, attempt, longer pause, ... -> handshake -> same export? -> yes: open again; waiting requests are sent
//                                                                                   -> no:  dead: all requests fail from now on
//
// A request may be sent twice, since the first attempt may have been executed before the connection was lost. All commands may be repeated.
// Writes that the server acknowledged and did not flush are lost if the server crashed (not if it only closed the connection): a flush after
// reconnecting cannot detect that and succeeds, as it does in QEMU.

import type { Host } from '../../../host/host.js';
import type { NetAddress, SentFile, TlsSettings } from '../../../host/net.js';
import { sleep } from '../../../host/sleep.js';
import { detach, reportUnforeseen } from '../../../util/best-effort.js';
import { BlockError, toBlockError } from '../../../util/errors.js';
import { Waiters } from '../../../util/waiters.js';
import { Command, TransmissionFlag } from '../../../wire/nbd/constants.js';
import { Connection, type ConnectionUser } from './connection.js';
import { lostError, replyError } from './errors.js';
import { type HandshakeOptions, handshake, type Negotiated } from './handshake.js';
import { MAX_REQUESTS, RequestTable, SlotState } from './requests.js';
import type { StatusRuns } from './status.js';

export interface ClientSettings {
  /** For messages. */
  path: string;
  address: NetAddress;
  exportName: string;
  tls: TlsSettings | null;
  context: string | null;
  /** Connections at the same time, where the server allows more than one. */
  connections: number;
  reconnectDelayMs: number;
  openTimeoutMs: number;
  /** The export must be writable, also after reconnecting. */
  writable: boolean;
}

/** Properties that must be the same, or better, after reconnecting. */
type Identity = Omit<Negotiated, 'link' | 'pushed'>;

/** Time limit of one attempt to connect, with its handshake. */
const ATTEMPT_MS = 30_000;
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 5000;
/** How long a server may be silent, after `abortStalled`, before it counts as stalled. */
const STALL_MS = 10_000;

/** What `writeFile` is told of a request that could not be sent. */
const NOT_HELD = new BlockError('unsupported', 'the bytes of a file cannot be held');

export class NbdClient implements ConnectionUser {
  readonly settings: ClientSettings;
  /** The result of the first handshake. */
  readonly identity: Identity;
  readonly #host: Host;
  readonly #table = new RequestTable();
  readonly #connections: (Connection | null)[] = [];
  /** Slots of requests that wait to be sent, the oldest first. */
  #waiting: number[] = [];
  /** Requests that wait for a slot. */
  readonly #slotWaiters = new Waiters();
  /** Set while requests fail at once, with this error as their cause. */
  #failure: BlockError | null = null;
  /** No more attempts to reconnect: the export is not the same any more, or the server is stalled. */
  #dead = false;
  #closed = false;
  /** Connections whose requests fail when they are lost, also with a reconnect delay. */
  readonly #cancelled = new Set<Connection>();
  #stopDelay: (() => void) | null = null;
  #stopWatching: (() => void) | null = null;
  /** Functions that end the pauses and handshakes that are under way, called when the client is closed. */
  readonly #aborts = new Set<(error: BlockError) => void>();

  private constructor(host: Host, settings: ClientSettings, negotiated: Negotiated) {
    this.#host = host;
    this.settings = settings;
    const { size, flags, minBlock, maxPayload, structured, extended, contextId } = negotiated;
    this.identity = { size, flags, minBlock, maxPayload, structured, extended, contextId };
    this.#connections.push(new Connection(host, negotiated, this.#table, 0, this));
  }

  /** Connects; attempts are repeated until `openTimeoutMs` have passed. Rejects as `handshake` and `Net.connect`. */
  static async open(host: Host, settings: ClientSettings): Promise<NbdClient> {
    const deadline = host.clock.now() + settings.openTimeoutMs;
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      try {
        const leftMs = settings.openTimeoutMs === 0 ? ATTEMPT_MS : Math.max(1, deadline - host.clock.now());
        const negotiated = await attempt(host, settings, Math.min(ATTEMPT_MS, leftMs));
        const client = new NbdClient(host, settings, negotiated);
        await client.#openOthers();
        return client;
      } catch (error) {
        const leftMs = deadline - host.clock.now();
        if (leftMs <= 0) throw error;
        await sleep(host.clock, Math.min(pauseMs, leftMs));
      }
    }
  }

  has(flag: number): boolean {
    return (this.identity.flags & flag) !== 0;
  }

  /** Connections that are open now. */
  get openConnections(): number {
    return this.#connections.reduce((sum, connection) => sum + (connection?.open ? 1 : 0), 0);
  }

  /**
   * Sends one request. Its payload is in `buffer` from `start` on; that of a write must be in memory of the host. Rejects with the error that the
   * server reports, with `io` where the connection is lost, and with `closed`.
   */
  request(
    command: number,
    flags: number,
    offset: number,
    length: number,
    buffer: Uint8Array | null,
    start: number,
    runs: StatusRuns | null = null,
    file: SentFile | null = null,
  ): Promise<void> {
    if (this.#failure !== null) return Promise.reject(this.#lostError(command, offset, length));
    const slot = this.#table.take(command, flags, offset, length, buffer, start, runs, file);
    if (slot < 0) return this.#requestLater(command, flags, offset, length, buffer, start, runs, file);
    const promise = this.#table.promise(slot);
    const connection = this.#waiting.length === 0 ? this.#leastBusy() : null;
    if (connection === null) this.#waiting.push(slot);
    else connection.send(slot);
    return promise;
  }

  /**
   * Writes the `length` bytes of `file` from `from` on, without reading them into memory: whenever the request is sent, also after reconnecting, the link holds
   * the file's pages, which must not change until this resolves. False where the link cannot hold them: then nothing was written, and they are to be
   * written from memory. Rejects as `request`.
   */
  async writeFile(offset: number, length: number, file: SentFile, from: number): Promise<boolean> {
    try {
      await this.request(Command.write, 0, offset, length, null, from, null, file);
      return true;
    } catch (error) {
      if (error === NOT_HELD) return false;
      throw error;
    }
  }

  /**
   * From now on, the client drops a server that has neither sent nor taken a byte for `STALL_MS` while requests are under way: they fail with
   * `io`, and so does every later one. A caller that is about to close the export calls this; without it, a silent server is waited for without end.
   */
  abortStalled(): void {
    if (this.#closed || this.#stopWatching !== null) return;
    const look = (): void => {
      const busy = this.#table.used > 0;
      const moved = this.#moved;
      this.#stopWatching = this.#host.clock.timer(STALL_MS, () => {
        // The requests of then are still under way, since nothing was received.
        if (busy && moved === this.#moved) this.cut(`no answer from the server for ${STALL_MS / 1000} s`, 'ETIMEDOUT');
        else look();
      });
    };
    look();
  }

  /** Drops the server: all requests fail with `io`, now and later. */
  cut(why: string, errno: string): void {
    if (this.#closed) return;
    const error = new BlockError('io', why, { path: this.settings.path, errno });
    this.#dead = true;
    this.#failure = error;
    this.#stopDelay?.();
    this.#stopDelay = null;
    for (const abort of this.#aborts) abort(error);
    for (const connection of this.#connections) connection?.abandon(error);
    this.#rejectWaiting();
  }

  /** Fails the requests under way with `io`, by dropping their connections, and connects again. */
  cancelRequests(): void {
    if (this.#closed || this.#dead || this.#table.used === 0) return;
    const error = new BlockError('io', 'the request was cancelled', { path: this.settings.path, errno: 'ECANCELED' });
    for (const connection of [...this.#connections]) {
      if (connection === null || connection.inFlight === 0) continue;
      this.#cancelled.add(connection);
      connection.abandon(error);
    }
    this.#rejectWaiting(error);
  }

  /** Ends the connections; requests under way, of which there should be none, fail with `closed`. */
  async close(): Promise<void> {
    this.#closed = true;
    const error = new BlockError('closed', 'the node is closed', { path: this.settings.path });
    this.#failure = error;
    this.#stopDelay?.();
    this.#stopWatching?.();
    for (const abort of this.#aborts) abort(error);
    await Promise.all(this.#connections.map((connection) => connection?.close()));
    for (let slot = 0; slot < MAX_REQUESTS; slot++) {
      if (this.#table.state[slot] !== SlotState.free) this.#reject(slot);
    }
    this.#wakeSlotWaiters();
  }

  // ---- calls of the connections ------------------------------------------------------------------------------------

  answered(_connection: Connection, slot: number, error: number): void {
    const table = this.#table;
    if (error === 0) {
      table.finish(slot, null);
      return;
    }
    const { path } = this.settings;
    const message = table.message[slot];
    table.finish(slot, replyError(path, table.command[slot], table.offset[slot], table.length[slot], error, message));
  }

  notHeld(slot: number): void {
    this.#table.finish(slot, NOT_HELD);
    this.#wakeSlotWaiters();
  }

  settled(): void {
    if (this.#waiting.length > 0) this.#sendWaiting();
    this.#wakeSlotWaiters();
  }

  lost(connection: Connection, error: BlockError): void {
    if (this.#closed) return;
    const { index } = connection;
    this.#connections[index] = null;
    const table = this.#table;
    const cut: number[] = [];
    for (let slot = 0; slot < MAX_REQUESTS; slot++) {
      const state = table.state[slot];
      if ((state === SlotState.sent || state === SlotState.answered) && table.connection[slot] === index)
        cut.push(slot);
    }
    if (this.openConnections === 0) this.#allLost(error);
    if (this.#cancelled.delete(connection) || this.settings.reconnectDelayMs === 0) {
      for (const slot of cut) this.#reject(slot, error);
    } else {
      for (const slot of cut) table.state[slot] = SlotState.waiting;
      this.#waiting = [...cut, ...this.#waiting];
    }
    // Requests that were not sent yet fail too: without a reconnect delay, none waits for a new connection.
    if (this.#failure !== null) this.#rejectWaiting();
    this.settled();
    detach('nbd client', this.#reconnect(index));
  }

  // ---- inside ---------------------------------------------------------------------------------------------------

  /** The open connection with the fewest requests under way; null where none has room. */
  #leastBusy(): Connection | null {
    let best: Connection | null = null;
    for (const connection of this.#connections) {
      if (connection?.hasRoom && (best === null || connection.inFlight < best.inFlight)) best = connection;
    }
    return best;
  }

  #sendWaiting(): void {
    let sent = 0;
    while (sent < this.#waiting.length) {
      const connection = this.#leastBusy();
      if (connection === null) break;
      connection.send(this.#waiting[sent++]);
    }
    if (sent > 0) this.#waiting.splice(0, sent);
  }

  async #requestLater(...request: Parameters<NbdClient['request']>): Promise<void> {
    await this.#slotWaiters.wait();
    return this.request(...request);
  }

  #wakeSlotWaiters(): void {
    if (this.#slotWaiters.size === 0) return;
    this.#slotWaiters.wake(this.#failure !== null ? this.#slotWaiters.size : MAX_REQUESTS - this.#table.used);
  }

  #lostError(command: number, offset: number, length: number, cause = this.#failure!): BlockError {
    return lostError(this.settings.path, command, offset, length, cause);
  }

  #reject(slot: number, cause = this.#failure!): void {
    const table = this.#table;
    table.finish(slot, this.#lostError(table.command[slot], table.offset[slot], table.length[slot], cause));
  }

  #rejectWaiting(cause = this.#failure!): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const slot of waiting) this.#reject(slot, cause);
    this.#wakeSlotWaiters();
  }

  /** The last connection is lost: requests fail from now on, or after the reconnect delay. */
  #allLost(error: BlockError): void {
    const { reconnectDelayMs } = this.settings;
    if (reconnectDelayMs === 0 || this.#dead) {
      this.#failure ??= error;
      return;
    }
    if (this.#failure !== null || this.#stopDelay !== null) return;
    this.#stopDelay = this.#host.clock.timer(reconnectDelayMs, () => {
      this.#stopDelay = null;
      this.#failure = error;
      this.#rejectWaiting();
    });
  }

  /** Reconnects: attempts and pauses alternate until one attempt succeeds. */
  async #reconnect(index: number): Promise<void> {
    for (
      let pauseMs = FIRST_PAUSE_MS;
      !this.#closed && !this.#dead;
      pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)
    ) {
      try {
        await this.#connect(index);
        return;
      } catch (error) {
        reportUnforeseen('nbd client', error);
        // The error of an attempt is not shown: requests that fail meanwhile have the error of the lost connection.
        if (!this.#closed && !this.#dead) await this.#pause(pauseMs);
      }
    }
  }

  async #connect(index: number): Promise<void> {
    let abort: ((error: BlockError) => void) | null = null;
    const onStart = (given: (error: BlockError) => void): void => {
      abort = given;
      this.#aborts.add(given);
    };
    let negotiated: Negotiated;
    try {
      negotiated = await attempt(this.#host, this.settings, ATTEMPT_MS, onStart);
    } finally {
      if (abort !== null) this.#aborts.delete(abort);
    }
    const ended = this.#closed || this.#dead;
    const change = ended ? 'the node is closed' : this.#difference(negotiated);
    if (change !== null) {
      await negotiated.link.close();
      if (!ended) this.#die(change);
      throw new BlockError('io', change);
    }
    this.#connections[index] = new Connection(this.#host, negotiated, this.#table, index, this);
    this.#stopDelay?.();
    this.#stopDelay = null;
    this.#failure = null;
    this.settled();
  }

  /** Why the export that was negotiated now cannot replace the first one; null where it can. */
  #difference(now: Negotiated): string | null {
    const { size, minBlock, maxPayload, structured, extended, contextId, flags } = this.identity;
    if (now.size !== size) return `the export had ${size} bytes and has ${now.size} after reconnecting`;
    if (this.settings.writable && (now.flags & TransmissionFlag.readOnly) !== 0) {
      return 'the export is read-only after reconnecting';
    }
    const { sendFlush, sendFua, sendTrim, sendWriteZeroes, sendFastZero, canMultiConn } = TransmissionFlag;
    const needed = sendFlush | sendFua | sendTrim | sendWriteZeroes | sendFastZero;
    // With several connections, a flush over one of them must include the writes over the others.
    const fewer = flags & ~now.flags & (this.#connections.length > 1 ? needed | canMultiConn : needed);
    const poorer =
      now.minBlock > minBlock ||
      now.maxPayload < maxPayload ||
      (structured && !now.structured) ||
      (extended && !now.extended);
    if (fewer !== 0 || poorer || contextId < 0 !== now.contextId < 0) {
      return 'the server offers fewer features after reconnecting';
    }
    return null;
  }

  /** Changes whenever bytes are received or sent. */
  get #moved(): number {
    return this.#connections.reduce((sum, connection) => sum + (connection?.moved ?? 0), 0);
  }

  /** The export has changed: no more attempts to reconnect. */
  #die(why: string): void {
    this.#dead = true;
    this.#stopDelay?.();
    this.#stopDelay = null;
    if (this.openConnections > 0) return;
    this.#failure = new BlockError('io', why, { path: this.settings.path });
    this.#rejectWaiting();
  }

  async #pause(ms: number): Promise<void> {
    let abort: () => void = () => {};
    await new Promise<void>((resolve) => {
      const stop = this.#host.clock.timer(ms, resolve);
      abort = () => {
        stop();
        resolve();
      };
      this.#aborts.add(abort);
    });
    this.#aborts.delete(abort);
  }

  /** Opens the second connection and so on. Where the server refuses one, the client works with fewer. */
  async #openOthers(): Promise<void> {
    if (!this.has(TransmissionFlag.canMultiConn)) return;
    for (let index = 1; index < this.settings.connections; index++) {
      this.#connections.push(null);
      try {
        await this.#connect(index);
      } catch (error) {
        if (this.#failure !== null) {
          await this.close();
          throw toBlockError(error);
        }
        return;
      }
    }
  }
}

async function attempt(
  host: Host,
  settings: ClientSettings,
  timeoutMs: number,
  onStart?: HandshakeOptions['onStart'],
): Promise<Negotiated> {
  const started = host.clock.now();
  const { address, exportName, tls, context } = settings;
  const link = await host.net.connect(address, { timeoutMs });
  const leftMs = Math.max(1, timeoutMs - (host.clock.now() - started));
  return handshake(host, link, { exportName, tls, context, timeoutMs: leftMs, onStart });
}
