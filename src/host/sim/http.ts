// HTTP in memory: a test says what a server answers to each request, when, and where it breaks off.

import { refuseAborted } from '../../util/abort.js';
import { BlockError } from '../../util/errors.js';
import type { Http, HttpClient, HttpReceiver, HttpRequest, HttpSettings } from '../http.js';
import { sleep } from '../sleep.js';
import type { SimEngine } from './engine.js';

/** An answer, in the order in which its parts come. */
export interface SimAnswer {
  /** Milliseconds until its head comes. */
  delayMs?: number;
  status: number;
  headers?: Readonly<Record<string, string>>;
  /** Parts of the body; each comes by itself. */
  body?: readonly Uint8Array[];
  /** Milliseconds before each part of the body. */
  partDelayMs?: number;
  /** The connection breaks behind the body. */
  breaks?: boolean;
}

/** `null`: the connection is refused. */
export type SimServer = (request: Pick<HttpRequest, 'method' | 'url' | 'headers'>) => SimAnswer | null;

export class SimHttp implements Http {
  readonly #clock: SimEngine;
  /** Who answers; nobody does where a test has not said so. */
  server: SimServer = () => null;
  /** What the last client was opened with. */
  settings: HttpSettings | null = null;
  /** Requests that are under way. */
  underWay = 0;

  constructor(clock: SimEngine) {
    this.#clock = clock;
  }

  open(settings: HttpSettings): HttpClient {
    this.settings = settings;
    const { timeoutMs } = settings;
    const closing = new AbortController();
    const request = async (one: HttpRequest, receiver: HttpReceiver): Promise<void> => {
      const signal = AbortSignal.any([one.signal, closing.signal]);
      this.underWay++;
      try {
        await this.#answer(this.server(one), signal, receiver, timeoutMs);
      } finally {
        this.underWay--;
      }
    };
    return { request, close: async () => closing.abort() };
  }

  async #answer(
    answer: SimAnswer | null,
    signal: AbortSignal,
    receiver: HttpReceiver,
    timeoutMs: number,
  ): Promise<void> {
    const wait = async (ms: number): Promise<void> => {
      const isLate = timeoutMs > 0 && ms > timeoutMs;
      await sleep(this.#clock, isLate ? timeoutMs : ms, signal);
      refuseAborted(signal);
      if (isLate) throw new BlockError('io', 'the server has not answered in time', { errno: 'ETIMEDOUT' });
    };
    if (answer === null) {
      await wait(0);
      throw new BlockError('io', 'the connection failed: connect ECONNREFUSED', { errno: 'ECONNREFUSED' });
    }
    const { delayMs = 0, status, headers = {}, body = [], partDelayMs = 0, breaks = false } = answer;
    await wait(delayMs);
    receiver.head(status, (name) => headers[name]);
    for (const part of body) {
      await wait(partDelayMs);
      if (part.length > 0) receiver.data(part);
    }
    if (breaks) throw new BlockError('io', 'the connection failed: other side closed', { errno: 'ECONNRESET' });
  }
}
