// Requests over HTTP by undici, which is loaded when the first image is opened over it.

import type { Dispatcher } from 'undici';
import { cancelledError } from '../../../util/abort.js';
import { BlockError, toBlockError } from '../../../util/errors.js';
import type { Http, HttpClient, HttpReceiver, HttpRequest, HttpSettings } from '../../http.js';
import { loadOptional } from '../binding.js';
import { Connections, ProxyRefusal } from './connections.js';
import { requestError } from './errors.js';

export class RealHttp implements Http {
  open(settings: HttpSettings): HttpClient {
    const undici = loadOptional<typeof import('undici')>('undici');
    if (undici !== null) return new UndiciClient(new Connections(undici, settings));
    throw new BlockError('unsupported', 'The package undici, which images are read with over HTTP, is not installed', {
      operation: 'open',
      hint: 'npm install undici',
    });
  }
}

class UndiciClient implements HttpClient {
  readonly #connections: Connections;

  constructor(connections: Connections) {
    this.#connections = connections;
  }

  async request({ method, url, headers, signal }: HttpRequest, receiver: HttpReceiver): Promise<void> {
    if (signal.aborted) throw cancelledError(signal.reason);
    const target = new URL(url);
    const { pool, path, headers: more } = this.#connections.to(target);
    await new Promise<void>((resolve, reject) => {
      const answer = new Answer(receiver, target.host, signal, resolve, reject);
      // `reset`: the connection of a HEAD is used again, too.
      pool.dispatch({ path, method, headers: { ...headers, ...more }, reset: false }, answer);
    });
  }

  close(): Promise<void> {
    return this.#connections.close();
  }
}

/** Hands an answer on to its receiver, and settles the request once. */
class Answer implements Dispatcher.DispatchHandler {
  readonly #receiver: HttpReceiver;
  readonly #host: string;
  readonly #signal: AbortSignal;
  readonly #resolve: () => void;
  readonly #reject: (error: unknown) => void;
  /** Null: the request waits for a connection. */
  #controller: Dispatcher.DispatchController | null = null;
  #settled = false;

  constructor(
    receiver: HttpReceiver,
    host: string,
    signal: AbortSignal,
    resolve: () => void,
    reject: (error: unknown) => void,
  ) {
    this.#receiver = receiver;
    this.#host = host;
    this.#signal = signal;
    this.#resolve = resolve;
    this.#reject = reject;
    signal.addEventListener('abort', this.#cancel);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#settled) controller.abort(cancelledError(this.#signal.reason));
  }

  onResponseStart(_: unknown, status: number, headers: Record<string, string | string[] | undefined>): void {
    if (status >= 200) this.#receive(() => this.#receiver.head(status, (name) => textOf(headers[name])));
  }

  onResponseData(_: unknown, bytes: Uint8Array): void {
    if (bytes.length > 0) this.#receive(() => this.#receiver.data(bytes));
  }

  onResponseEnd(): void {
    this.#end(this.#resolve);
  }

  onResponseError(_: unknown, error: Error): void {
    if (error instanceof ProxyRefusal) {
      this.#receive(() => this.#receiver.head(error.status, () => undefined));
      this.#end(this.#resolve);
    } else this.#end(() => this.#reject(requestError(error, this.#host)));
  }

  /** Calls the receiver; what it throws ends the request. */
  #receive(call: () => void): void {
    if (this.#settled) return;
    try {
      call();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Does not wait for a connection, which may take long. */
  readonly #cancel = () => this.#fail(cancelledError(this.#signal.reason));

  #fail(error: unknown): void {
    this.#end(() => this.#reject(error));
    this.#controller?.abort(toBlockError(error));
  }

  #end(settle: () => void): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#signal.removeEventListener('abort', this.#cancel);
    settle();
  }
}

function textOf(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(', ') : value;
}
