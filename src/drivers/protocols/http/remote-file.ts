// A file on an HTTP server: its size and version are asked for once, and every answer is compared with them. Bytes of two versions are never mixed.

import { BlockError } from '../../../util/errors.js';
import { type Pauses, type RangeSource, withPatience } from '../remote/range-source.js';
import {
  type ContentRange,
  conditionFor,
  type Header,
  rangeOf,
  sameVersion,
  sizeOf,
  statusError,
  type Version,
  versionOf,
} from './answer.js';
import type { UrlRequests } from './requests.js';

/** Attempts to ask for the size: who opens an image waits for it. */
const MOST_ATTEMPTS = 3;

interface Known {
  size: number;
  version: Version;
}

export class HttpFile implements RangeSource {
  readonly size: number;
  #version: Version;
  readonly #path: string;
  readonly #requests: UrlRequests;

  private constructor(path: string, requests: UrlRequests, { size, version }: Known) {
    this.#path = path;
    this.#requests = requests;
    this.size = size;
    this.#version = version;
  }

  /**
   * Asks for the size, by HEAD, and by a range of one byte where that says too little, or at once with `forceRange`. Rejects as `UrlRequests.send`, and with `unsupported`
   * where the server takes no ranges.
   */
  static async open(
    path: string,
    requests: UrlRequests,
    forceRange: boolean,
    signal: AbortSignal,
    pauses: Pauses,
  ): Promise<HttpFile> {
    const known = await withPatience(pauses, signal, MOST_ATTEMPTS, async () => {
      const known = forceRange ? null : await askByHead(requests, signal);
      return known ?? (await askByRange(path, requests, signal));
    });
    return new HttpFile(path, requests, known);
  }

  async fetch(offset: number, length: number, take: (bytes: Uint8Array) => void, signal: AbortSignal): Promise<void> {
    const range = `bytes=${offset}-${offset + length - 1}`;
    await this.#requests.send('GET', { range, ...conditionFor(this.#version) }, signal, (status, header) => {
      const sent = this.#checkHead(status, header, offset);
      let left = Math.min(sent.last - sent.first + 1, length);
      return (bytes) => {
        // It was asked for a range, and has confirmed it.
        if (bytes.length > left) throw this.#error('io', 'the server sends more than was asked for');
        left -= bytes.length;
        take(bytes);
      };
    });
  }

  #checkHead(status: number, header: Header, offset: number): ContentRange {
    if (status === 412 || status === 416) throw this.#changed();
    if (status === 200) throw noRanges(this.#path, 'read');
    if (status !== 206) throw statusError(this.#path, status, 'read');
    const range = rangeOf(header('content-range'));
    if (range === null || range.first !== offset) {
      throw this.#error('io', `the server answers with the range '${header('content-range') ?? ''}'`);
    }
    refuseEncoded(this.#path, header, 'read');
    const version = sameVersion(this.#version, versionOf(header));
    if (version === null || (range.total !== null && range.total !== this.size)) throw this.#changed();
    this.#version = version;
    return range;
  }

  #changed(): BlockError {
    return this.#error('bad-state', 'the file on the server has changed since it was opened');
  }

  #error(code: 'io' | 'bad-state', why: string): BlockError {
    return BlockError.at(this.#path, code, why, { operation: 'read' });
  }
}

function noRanges(path: string, operation: 'open' | 'read'): BlockError {
  return BlockError.at(path, 'unsupported', "Server does not support 'range' (byte ranges).", { operation });
}

function refuseEncoded(path: string, header: Header, operation: 'open' | 'read'): void {
  const encoding = header('content-encoding');
  if (encoding === undefined || encoding.toLowerCase() === 'identity') return;
  throw BlockError.at(path, 'unsupported', `the server encodes the file (${encoding})`, { operation });
}

/** Null where a server does not answer to HEAD, or not with what is needed. */
async function askByHead(requests: UrlRequests, signal: AbortSignal): Promise<Known | null> {
  const found: Known[] = [];
  await requests.send('HEAD', {}, signal, (status, header) => {
    const size = sizeOf(header('content-length'));
    const takesRanges = /\bbytes\b/i.test(header('accept-ranges') ?? '');
    if (status === 200 && size !== null && takesRanges && header('content-encoding') === undefined) {
      found.push({ size, version: versionOf(header) });
    }
    return null;
  });
  return found[0] ?? null;
}

async function askByRange(path: string, requests: UrlRequests, signal: AbortSignal): Promise<Known> {
  const found: Known[] = [];
  await requests.send('GET', { range: 'bytes=0-0' }, signal, (status, header) => {
    if (status === 200) throw noRanges(path, 'open');
    const isEmpty = status === 416 && /^bytes \*\/0$/.test(header('content-range') ?? '');
    if (status !== 206 && !isEmpty) throw statusError(path, status, 'open');
    refuseEncoded(path, header, 'open');
    const size = isEmpty ? 0 : (rangeOf(header('content-range'))?.total ?? null);
    if (size !== null) found.push({ size, version: versionOf(header) });
    return null;
  });
  if (found.length > 0) return found[0];
  throw BlockError.at(path, 'unsupported', 'the server does not say how large the file is', { operation: 'open' });
}
