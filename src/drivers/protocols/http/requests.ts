// Requests for one URL: where they go after redirections, and with which credentials.

import type { HttpClient, HttpRequest } from '../../../host/http.js';
import { basic, credentialsOfUrl } from '../../../util/basic-auth.js';
import { BlockError } from '../../../util/errors.js';
import { type Header, isRedirection } from './answer.js';

const MOST_REDIRECTIONS = 10;
/** Of an answer whose body nobody wants so much is read, so that the connection can be used again. */
const MOST_IGNORED_BYTES = 64 << 10;
/** A redirection that was followed may be good for a while only: with these answers, the first URL is asked again. */
const MAY_BE_OLD = new Set([400, 401, 403, 404, 410]);

export interface UrlSettings {
  /** `name:password`; null: those of the URL, if it has any. */
  credentials: Uint8Array | null;
  cookie: string | null;
}

/** Looks at the head of an answer; what it throws ends the request. Returns who takes the body; null: nobody. */
export type OnHead = (status: number, header: Header) => ((bytes: Uint8Array) => void) | null;

export class UrlRequests {
  readonly #client: HttpClient;
  readonly #path: string;
  readonly #first: URL;
  readonly #secrets: Readonly<Record<string, string>>;
  /** Where redirections have led to. */
  #current: URL;

  /** `path`: the URL as the user gave it, with or without credentials; messages name it. Throws `invalid-argument`. */
  constructor(client: HttpClient, path: string, { credentials, cookie }: UrlSettings) {
    this.#client = client;
    this.#path = path;
    this.#first = parseUrl(path);
    const known = credentials ?? credentialsOfUrl(this.#first);
    this.#first.username = '';
    this.#first.password = '';
    this.#current = this.#first;
    this.#secrets = {
      ...(known !== null && { authorization: basic(known) }),
      ...(cookie !== null && { cookie: bytesAsText(cookie) }),
    };
  }

  /**
   * Rejects as `HttpClient.request`, with what `onHead` throws, and with `limit` and `permission` for redirections that are not followed. After `io`, the next call asks the URL
   * that the user gave: where redirections have led to may be gone.
   */
  async send(
    method: 'GET' | 'HEAD',
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
    onHead: OnHead,
  ): Promise<void> {
    let url = this.#current;
    let mayBeOld = url !== this.#first;
    try {
      for (let hops = 0; hops <= MOST_REDIRECTIONS; hops++) {
        const next = await this.#once(url, { method, headers, signal }, onHead, mayBeOld);
        if (next === null) {
          this.#current = url;
          return;
        }
        if (next === this.#first) {
          mayBeOld = false;
          hops = -1;
        }
        url = next;
      }
    } catch (error) {
      if (error instanceof BlockError && error.code === 'io') this.#current = this.#first;
      throw error;
    }
    throw this.#error('limit', `more than ${MOST_REDIRECTIONS} redirections`);
  }

  /** One request. Returns where to ask instead: the target of a redirection, or `#first` itself where `url` is one that `mayBeOld`, and is; null where `onHead` took the answer. */
  async #once(
    url: URL,
    { method, headers, signal }: Omit<HttpRequest, 'url'>,
    onHead: OnHead,
    mayBeOld: boolean,
  ): Promise<URL | null> {
    let next: URL | null = null;
    let body: ((bytes: Uint8Array) => void) | null = null;
    let ignored = 0;
    // Secrets are for the server that the user named.
    const own = url.origin === this.#first.origin ? this.#secrets : {};
    const all = { 'accept-encoding': 'identity', 'user-agent': 'diskwright', ...own, ...headers };
    await this.#client.request(
      { method, url: url.href, headers: all, signal },
      {
        head: (status, header) => {
          const location = isRedirection(status) && header('location');
          if (location) next = this.#redirected(url, location);
          else if (mayBeOld && MAY_BE_OLD.has(status)) next = this.#first;
          else body = onHead(status, header);
        },
        data: (bytes) => {
          if (body !== null) return body(bytes);
          ignored += bytes.length;
          if (ignored > MOST_IGNORED_BYTES) throw this.#error('io', 'the server sends more than was asked for');
        },
      },
    );
    return next;
  }

  #redirected(from: URL, location: string): URL {
    let to: URL;
    try {
      to = new URL(location, from);
    } catch (cause) {
      throw this.#error('refused', `the server redirects to '${location}', which is no URL`, cause);
    }
    if (to.protocol !== 'https:' && (to.protocol !== 'http:' || from.protocol === 'https:')) {
      throw this.#error(
        'permission',
        `the server redirects from ${from.protocol}// to ${to.protocol}//, which is not followed`,
      );
    }
    to.username = '';
    to.password = '';
    return to;
  }

  #error(code: 'io' | 'limit' | 'permission' | 'refused', why: string, cause?: unknown): BlockError {
    return BlockError.at(this.#path, code, why, { operation: 'read', cause });
  }
}

/** Nothing of a URL is left out, or taken for something else, as a browser does with blanks and backslashes: it names the file, and no other. */
function parseUrl(path: string): URL {
  if (!/[\0- \x7f]/.test(path)) {
    try {
      const url = new URL(path.replaceAll('\\', '%5C'));
      if (url.hostname !== '') return url;
    } catch (cause) {
      throw noUrl(path, cause);
    }
  }
  throw noUrl(path);
}

function noUrl(path: string, cause?: unknown): BlockError {
  return new BlockError('invalid-argument', `No valid URL specified: '${path}'`, { path, cause });
}

/** A character for each byte in UTF-8, as values of headers are given. */
function bytesAsText(text: string): string {
  return Buffer.from(text).toString('latin1');
}
