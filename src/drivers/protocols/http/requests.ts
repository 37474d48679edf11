// Requests for one URL: where they go after redirections, and with which credentials.

import type { HttpClient } from '../../../host/http.js';
import { BlockError } from '../../../util/errors.js';
import { type Header, isRedirection } from './answer.js';

const MOST_REDIRECTIONS = 10;
/** Of an answer whose body nobody wants so much is read, so that the connection can be used again. */
const MOST_IGNORED_BYTES = 64 << 10;
/** A redirection that was followed may be good for a while only: with these answers, the first URL is asked again. */
const MAY_BE_OLD = new Set([401, 403, 404, 410]);

export interface UrlSettings {
  /** `name:password`. */
  credentials: string | null;
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

  /** `path`: the name of the node, for messages. Throws `invalid-argument`. */
  constructor(client: HttpClient, path: string, { credentials, cookie }: UrlSettings) {
    this.#client = client;
    this.#path = path;
    this.#first = parseUrl(path);
    const inUrl = userOf(this.#first);
    this.#first.username = '';
    this.#first.password = '';
    this.#current = this.#first;
    const known = credentials ?? inUrl;
    this.#secrets = {
      ...(known !== null && { authorization: `Basic ${Buffer.from(known).toString('base64')}` }),
      ...(cookie !== null && { cookie }),
    };
  }

  /** Rejects as `HttpClient.request`, with what `onHead` throws, and with `limit` and `permission` for redirections that are not followed. */
  async send(
    method: 'GET' | 'HEAD',
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
    onHead: OnHead,
  ): Promise<void> {
    const answer = await this.#follow(method, headers, signal, onHead, this.#current !== this.#first);
    if (answer === 'old') {
      this.#current = this.#first;
      await this.#follow(method, headers, signal, onHead, false);
    }
  }

  async #follow(
    method: 'GET' | 'HEAD',
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
    onHead: OnHead,
    mayBeOld: boolean,
  ): Promise<'taken' | 'old'> {
    let url = this.#current;
    for (let hops = 0; hops <= MOST_REDIRECTIONS; hops++) {
      let location: string | undefined;
      let isOld = false;
      let body: ((bytes: Uint8Array) => void) | null = null;
      let ignored = 0;
      // Secrets are for the server that the user named.
      const own = url.origin === this.#first.origin ? this.#secrets : {};
      const all = { 'accept-encoding': 'identity', 'user-agent': 'diskwright', ...own, ...headers };
      await this.#client.request(
        { method, url: url.href, headers: all, signal },
        {
          head: (status, header) => {
            location = isRedirection(status) ? header('location') : undefined;
            isOld = mayBeOld && MAY_BE_OLD.has(status);
            if (location === undefined && !isOld) body = onHead(status, header);
          },
          data: (bytes) => {
            if (body !== null) return body(bytes);
            ignored += bytes.length;
            if (ignored > MOST_IGNORED_BYTES) throw this.#error('io', 'the server sends more than was asked for');
          },
        },
      );
      if (isOld) return 'old';
      if (location === undefined) {
        this.#current = url;
        return 'taken';
      }
      url = this.#redirected(url, location);
    }
    throw this.#error('limit', `more than ${MOST_REDIRECTIONS} redirections`);
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
        `the server redirects to ${to.origin}, and from ${from.protocol}// only https:// is followed`,
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

function parseUrl(path: string): URL {
  try {
    const url = new URL(path);
    if (url.hostname !== '') return url;
  } catch (cause) {
    throw new BlockError('invalid-argument', `No valid URL specified: '${path}'`, { path, cause });
  }
  throw new BlockError('invalid-argument', `No valid URL specified: '${path}' has no host`, { path });
}

function userOf({ username, password }: URL): string | null {
  if (username === '' && password === '') return null;
  try {
    return `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  } catch {
    // An escape that is none is meant as it stands.
    return `${username}:${password}`;
  }
}
