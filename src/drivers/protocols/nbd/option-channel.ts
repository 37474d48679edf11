// A link during the handshake: sends options, receives their replies one after the other. It never reads more bytes than the caller asks for, so that
// the link can be passed on to the transmission phase, or to TLS, after any message.

import type { Host } from '../../../host/host.js';
import type { Link, LinkOwner, TlsSettings } from '../../../host/net.js';
import { viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import {
  IHAVEOPT_HIGH,
  IHAVEOPT_LOW,
  MAX_STRING_BYTES,
  OPTION_REPLY_HIGH,
  OPTION_REPLY_LOW,
} from '../../../wire/nbd/constants.js';

/** Longest reply: two strings and a few words. */
const RECEIVE_BYTES = 2 * MAX_STRING_BYTES + 64;
/** Room for options that the server has not received yet: enough for all of a usual handshake, two of which have two strings. */
const SEND_BYTES = 8 * MAX_STRING_BYTES;

export interface OptionReply {
  type: number;
  /** Valid until the next bytes are received. */
  payload: Uint8Array;
}

export class OptionChannel implements LinkOwner {
  link: Link;
  /** Pieces that were pushed on this link. */
  pushed = 0;
  readonly #host: Host;
  readonly #receive: Uint8Array;
  readonly #send: Uint8Array;
  readonly #out: DataView;
  #used = 0;
  #got = 0;
  #wanted = 0;
  #waiter: { resolve: () => void; reject: (error: BlockError) => void } | null = null;
  #failure: BlockError | null = null;
  readonly #stopTimer: (() => void) | null;

  /** After `timeoutMs` from now, every call fails with `cancelled`; 0: no limit. */
  constructor(host: Host, link: Link, timeoutMs: number) {
    this.#host = host;
    this.link = link;
    this.#receive = host.memory.allocate(RECEIVE_BYTES);
    this.#send = host.memory.allocate(SEND_BYTES);
    this.#out = viewOf(this.#send);
    this.#stopTimer =
      timeoutMs === 0
        ? null
        : host.clock.timer(timeoutMs, () => {
            this.fail(this.error('cancelled', `no answer within ${timeoutMs / 1000} s of the handshake`));
          });
    link.owner = this;
  }

  /** Ends the handshake: the link belongs to the caller again, or is closed where `failed`. */
  async end(failed: boolean): Promise<void> {
    this.#stopTimer?.();
    if (failed) await this.link.close();
    this.#host.memory.free(this.#receive);
    this.#host.memory.free(this.#send);
  }

  error(code: BlockError['code'], why: string): BlockError {
    return BlockError.at(this.link.peer, code, why, { operation: 'open' });
  }

  /** Receives exactly `count` bytes, which are valid until the next call. Rejects where the link ends, and with `io` where `count` is too large. */
  async take(count: number): Promise<Uint8Array> {
    if (count > RECEIVE_BYTES) throw this.error('io', `the server sends ${count} bytes in one reply of the handshake`);
    this.#got = 0;
    this.#wanted = count;
    if (count > 0) {
      await new Promise<void>((resolve, reject) => {
        if (this.#failure !== null) return reject(this.#failure);
        this.#waiter = { resolve, reject };
        this.link.window(this.#receive, 0, count);
      });
    }
    return this.#receive.subarray(0, count);
  }

  async takeView(count: number): Promise<DataView> {
    return viewOf(await this.take(count));
  }

  sendWord(value: number): void {
    const start = this.#used;
    this.#put32(value);
    this.#flush(start);
  }

  /** Sends an option. Its data are `parts`: numbers are 32-bit words, byte arrays are sent as they are. */
  sendOption(option: number, parts: readonly (number | Uint8Array)[] = []): void {
    if (this.link.unsentBytes === 0) this.#used = 0;
    const start = this.#used;
    this.#put32(IHAVEOPT_HIGH);
    this.#put32(IHAVEOPT_LOW);
    this.#put32(option);
    this.#put32(parts.reduce<number>((sum, part) => sum + (typeof part === 'number' ? 4 : part.length), 0));
    for (const part of parts) {
      if (typeof part === 'number') this.#put32(part);
      else {
        this.#send.set(part, this.#used);
        this.#used += part.length;
      }
    }
    this.#flush(start);
  }

  /** Receives the next reply, which must be one to `option`. Rejects with `io` otherwise. */
  async reply(option: number): Promise<OptionReply> {
    const head = await this.takeView(20);
    if (head.getUint32(0) !== OPTION_REPLY_HIGH || head.getUint32(4) !== OPTION_REPLY_LOW) {
      throw this.error('io', 'the server sends an invalid reply in the handshake');
    }
    if (head.getUint32(8) !== option) {
      throw this.error('io', `the server answers option ${head.getUint32(8)}, which was not sent`);
    }
    const type = head.getUint32(12);
    return { type, payload: await this.take(head.getUint32(16)) };
  }

  /** Returns a function that receives the next reply to `option`, as `reply` does. It rejects with `io` after `max` of them. */
  replies(option: number, max: number): () => Promise<OptionReply> {
    let count = 0;
    return async () => {
      if (count++ < max) return this.reply(option);
      throw this.error('io', `the server does not end its answer after ${max} replies`);
    };
  }

  async startTls(settings: TlsSettings, timeoutMs: number): Promise<void> {
    this.link = await this.link.startTls(settings, timeoutMs);
    this.pushed = 0;
    this.link.owner = this;
  }

  received(count: number): void {
    this.#got += count;
    if (this.#got < this.#wanted) {
      this.link.window(this.#receive, this.#got, this.#wanted);
      return;
    }
    this.#waiter?.resolve();
    this.#waiter = null;
  }

  /** Nothing to do: the memory of options that were sent is not reused before the link has sent all. */
  progressed(): void {}

  closed(error: BlockError | null): void {
    this.fail(error ?? this.error('io', 'the server closed the connection in the handshake'));
  }

  /** Makes the current `take` and every later one reject with this error. */
  fail(error: BlockError): void {
    this.#failure ??= error;
    this.#waiter?.reject(error);
    this.#waiter = null;
  }

  #put32(value: number): void {
    this.#out.setUint32(this.#used, value);
    this.#used += 4;
  }

  #flush(start: number): void {
    this.link.push(this.#send, start, this.#used);
    this.pushed++;
    this.link.flush();
  }
}
