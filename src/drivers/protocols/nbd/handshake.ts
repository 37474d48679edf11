// The handshake of a client: from a new link to the transmission phase of one export. Specification: NBD protocol, "Newstyle negotiation".
//
//   greeting -> [STARTTLS] -> EXTENDED_HEADERS or STRUCTURED_REPLY -> SET_META_CONTEXT -> GO -> transmission
//                                                                    old servers: EXPORT_NAME ->

import type { Host } from '../../../host/host.js';
import type { Link, TlsSettings } from '../../../host/net.js';
import { viewBe64, viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { encodeName } from '../../../util/name-bytes.js';
import { isPowerOfTwo, SECTOR_BYTES } from '../../../util/numbers.js';
import {
  CONTEXT_BASE_ALLOCATION,
  Info,
  MAX_PAYLOAD_BYTES,
  MAX_STRING_BYTES,
  Option,
  OptionReply,
} from '../../../wire/nbd/constants.js';
import { greet, infoOf, isError, offer, refusal, startTls } from './handshake-steps.js';
import { OptionChannel } from './option-channel.js';

export interface HandshakeOptions {
  exportName: string;
  tls: TlsSettings | null;
  /** Metadata context that block status is taken from; null for the usual one, where the server has it. */
  context: string | null;
  /** 0: none. */
  timeoutMs: number;
  /** Called with a function that makes the handshake fail with an error. */
  onStart?: (abort: (error: BlockError) => void) => void;
}

/** The result of the handshake. */
export interface Negotiated {
  link: Link;
  /** Number of pieces that were pushed on the link so far. */
  pushed: number;
  size: number;
  /** `TransmissionFlag`. */
  flags: number;
  /** Minimum block size: offsets and lengths are multiples of it, a power of two, in bytes. */
  minBlock: number;
  /** Maximum length of a read or a write in bytes, a multiple of `minBlock`. */
  maxPayload: number;
  structured: boolean;
  extended: boolean;
  /** Id of the metadata context; -1 where there is none. */
  contextId: number;
}

type Limits = Pick<Negotiated, 'minBlock' | 'maxPayload'>;
type Export = Pick<Negotiated, 'size' | 'flags'> & Limits;

const MAX_MIN_BLOCK = 65536;
/** Replies to one option at most. */
const MAX_REPLIES = 64;
const ZERO_BYTES = 124;

/**
 * Performs the handshake. Rejects with `not-found` (no such export), `permission` (refused by the server), `unsupported` (the server is too
 * old), `limit` (the export is too large), `cancelled` (time limit) and `io`; the link is closed then.
 */
export async function handshake(host: Host, link: Link, options: HandshakeOptions): Promise<Negotiated> {
  const channel = new OptionChannel(host, link, options.timeoutMs);
  let failed = true;
  options.onStart?.((error) => channel.fail(error));
  try {
    const result = await new Handshake(channel, options).run();
    if (channel.link.unsentBytes > 0) throw channel.error('io', 'the server sends a reply before any request');
    failed = false;
    return result;
  } finally {
    await channel.end(failed);
  }
}

class Handshake {
  readonly #channel: OptionChannel;
  readonly #options: HandshakeOptions;
  readonly #name: Uint8Array;
  #noZeroes = false;

  constructor(channel: OptionChannel, options: HandshakeOptions) {
    this.#channel = channel;
    this.#options = options;
    this.#name = this.#encode(options.exportName);
  }

  async run(): Promise<Negotiated> {
    const channel = this.#channel;
    const { tls, context } = this.#options;
    const { fixed, noZeroes } = await greet(channel);
    this.#noZeroes = noZeroes;
    if (!fixed) {
      if (tls !== null) throw channel.error('unsupported', 'the server is too old for TLS');
      return this.#agreed(await this.#exportName(), false);
    }
    if (tls !== null) await startTls(channel, tls, this.#options.timeoutMs);
    const extended = await offer(channel, Option.extendedHeaders);
    const structured = extended || (await offer(channel, Option.structuredReply));
    const contextId = structured ? await this.#setContext(context ?? CONTEXT_BASE_ALLOCATION) : -1;
    const negotiated = await this.#go();
    if (negotiated === null) return this.#agreed(await this.#exportName(), structured, extended, contextId);
    return this.#agreed(negotiated, structured, extended, contextId);
  }

  #agreed(limits: Export, structured: boolean, extended = false, contextId = -1): Negotiated {
    const { context } = this.#options;
    if (context !== null && contextId < 0) {
      throw this.#channel.error('invalid-argument', `the server has no metadata context '${context}'`);
    }
    return { link: this.#channel.link, pushed: this.#channel.pushed, ...limits, structured, extended, contextId };
  }

  /** Requests a metadata context: its id, or -1 where the server does not have it. A problem with the export is reported by the next option. */
  async #setContext(context: string): Promise<number> {
    const channel = this.#channel;
    const query = this.#encode(context);
    channel.sendOption(Option.setMetaContext, [this.#name.length, this.#name, 1, query.length, query]);
    let id = -1;
    const next = channel.replies(Option.setMetaContext, MAX_REPLIES);
    for (;;) {
      const reply = await next();
      if (reply.type === OptionReply.ack) return id;
      if (reply.type !== OptionReply.metaContext) {
        if (isError(reply.type)) return -1;
        throw channel.error('io', `the server answers with reply type ${reply.type} to a metadata context`);
      }
      const named = reply.payload.length >= 4 && new TextDecoder().decode(reply.payload.subarray(4)) === context;
      if (!named || id >= 0) throw channel.error('io', 'the server names a metadata context that was not asked for');
      id = viewOf(reply.payload).getUint32(0);
    }
  }

  /** Requests the export with GO; null where the server does not know this option. */
  async #go(): Promise<Export | null> {
    const channel = this.#channel;
    const oneRequest = Uint8Array.of(0, 1, 0, Info.blockSize);
    channel.sendOption(Option.go, [this.#name.length, this.#name, oneRequest]);
    let size = -1;
    let flags = 0;
    let limits: Limits | null = null;
    const next = channel.replies(Option.go, MAX_REPLIES);
    for (;;) {
      const reply = await next();
      const { type, payload } = reply;
      if (type === OptionReply.ack) {
        if (size < 0) throw channel.error('io', 'the server does not send the size of the export');
        return { size, flags, ...(limits ?? this.#defaultLimits(size)) };
      }
      if (type === OptionReply.errUnsupported) return null;
      if (isError(type)) throw refusal(channel, Option.go, reply);
      const view = infoOf(channel, reply);
      const kind = view.getUint16(0);
      if (kind === Info.export) {
        if (payload.length !== 12) throw channel.error('io', 'the server sends a malformed description of the export');
        size = this.#sizeOf(view, 2);
        flags = view.getUint16(10);
      } else if (kind === Info.blockSize) {
        if (payload.length !== 14)
          throw channel.error('io', 'the server sends a malformed description of its block sizes');
        limits = this.#checkLimits(view.getUint32(2), view.getUint32(6), view.getUint32(10));
      }
    }
  }

  /** Requests the export with EXPORT_NAME, for a server that does not know GO. Such a server closes the connection where it refuses. */
  async #exportName(): Promise<Export> {
    const channel = this.#channel;
    channel.sendOption(Option.exportName, [this.#name]);
    let head: DataView;
    try {
      head = await channel.takeView(10);
    } catch (cause) {
      const code = cause instanceof BlockError && cause.code === 'cancelled' ? 'cancelled' : 'not-found';
      throw new BlockError(code, `Requested export not available: ${(cause as Error).message}`, { cause });
    }
    const size = this.#sizeOf(head, 0);
    const flags = head.getUint16(8);
    if (!this.#noZeroes) await channel.take(ZERO_BYTES);
    return { size, flags, ...this.#defaultLimits(size) };
  }

  /** Checks the block sizes that the server sends. */
  #checkLimits(min: number, preferred: number, max: number): Limits {
    const fail = (what: string) => this.#channel.error('io', `the server's ${what}`);
    if (!isPowerOfTwo(min) || min > MAX_MIN_BLOCK) throw fail(`invalid minimum block size of ${min} bytes`);
    if (!isPowerOfTwo(preferred) || preferred < min) {
      throw fail(`invalid preferred block size of ${preferred} bytes`);
    }
    if (max < preferred || (max % min !== 0 && max !== 0xffffffff)) {
      throw fail(`invalid maximum block size of ${max} bytes`);
    }
    return { minBlock: min, maxPayload: Math.min(max, MAX_PAYLOAD_BYTES) };
  }

  /** Limits for a server that sends no block sizes: those that the specification lets a client assume. */
  #defaultLimits(size: number): Limits {
    return { minBlock: size % SECTOR_BYTES === 0 ? SECTOR_BYTES : 1, maxPayload: MAX_PAYLOAD_BYTES };
  }

  #sizeOf(view: DataView, at: number): number {
    const size = viewBe64(view, at);
    if (!Number.isSafeInteger(size)) {
      throw this.#channel.error(
        'limit',
        `the export is larger than ${Number.MAX_SAFE_INTEGER} bytes (2^53 - 1), which is not supported`,
      );
    }
    return size;
  }

  #encode(text: string): Uint8Array {
    const bytes = encodeName(text);
    if (bytes.length <= MAX_STRING_BYTES && !bytes.includes(0)) return bytes;
    throw new BlockError(
      'invalid-argument',
      `The name of an export or metadata context has at most ${MAX_STRING_BYTES} bytes and no zero byte`,
    );
  }
}
