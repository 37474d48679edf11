// A server of the simulation that has a file, and a bad day: it answers late, in pieces, breaks off, refuses, sends another range, or has another version of the file.

import type { SimAnswer, SimServer } from '../../../src/host/sim/http.js';
import type { Random } from '../../../src/host/sim/index.js';

export const URL_OF_IMAGE = 'http://server/disk.raw';

export interface BadServer {
  server: SimServer;
  /** The file of the second version was shown: whoever opened the first may fail with `bad-state`. */
  hasChanged(): boolean;
}

/** How often, in a hundred answers, each of its faults comes. */
export interface Mood {
  breaks: number;
  refuses: number;
  busy: number;
  late: number;
  nonsense: number;
  short: number;
  changes: number;
}

export const GOOD: Mood = { breaks: 0, refuses: 0, busy: 0, late: 0, nonsense: 0, short: 0, changes: 0 };

function inParts(random: Random, bytes: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Math.min(bytes.length - at, random.between(1, 1 + (bytes.length >> random.below(4))));
    parts.push(bytes.subarray(at, at + length));
    at += length;
  }
  return parts;
}

/** `tagged`: the server says which version it sends; without, it says when it was changed last. */
export function badServer(random: Random, content: Uint8Array, mood: Mood, tagged: boolean): BadServer {
  let changed = false;
  const other = content.map((byte) => byte ^ 0xff);
  const happens = (percent: number) => random.below(100) < percent;
  const server: SimServer = ({ method, headers }) => {
    if (happens(mood.refuses)) return null;
    const delayMs = happens(mood.late) ? random.between(1, 12_000) : random.below(20);
    if (happens(mood.busy))
      return { status: random.pick([408, 429, 500, 502, 503, 504]), delayMs, body: [content.subarray(0, 10)] };
    if (happens(mood.changes)) changed = true;
    const file = changed ? other : content;
    const version = changed ? '"two"' : '"one"';
    const known: Record<string, string> = tagged
      ? { etag: version }
      : { 'last-modified': `Thu, 01 Jan 2026 ${version}` };
    if (headers['if-match'] !== undefined && headers['if-match'] !== version) return { status: 412, delayMs };
    if (method === 'HEAD') {
      return {
        status: 200,
        delayMs,
        headers: { ...known, 'content-length': String(file.length), 'accept-ranges': 'bytes' },
      };
    }
    return { delayMs, partDelayMs: random.below(3), ...rangeAnswer(headers['range'], file, known) };
  };

  function rangeAnswer(asked: string | undefined, file: Uint8Array, known: Record<string, string>): SimAnswer {
    const match = /^bytes=(\d+)-(\d+)$/.exec(asked ?? '')!;
    let first = Number(match[1]);
    let last = Math.min(Number(match[2]), file.length - 1);
    if (happens(mood.short)) last = random.between(first, last);
    let body = file.slice(first, last + 1);
    if (happens(mood.nonsense)) {
      // Each of these is told from the right answer by its head or its length.
      const kind = random.below(5);
      if (kind === 0) return { status: 200, headers: known, body: [file] };
      if (kind === 1) body = new Uint8Array([...body, ...body]);
      if (kind === 2) first += 512;
      if (kind === 3) return { status: 206, headers: { ...known, 'content-range': 'bytes nonsense' }, body: [body] };
      if (kind === 4)
        return {
          status: 206,
          headers: { ...known, 'content-encoding': 'gzip', 'content-range': `bytes ${first}-${last}/${file.length}` },
          body: [body],
        };
    }
    const breaks = happens(mood.breaks);
    const parts = inParts(random, breaks ? body.subarray(0, random.below(body.length + 1)) : body);
    const range = `bytes ${first}-${Math.max(first, last)}/${file.length}`;
    return { status: 206, headers: { ...known, 'content-range': range }, body: parts, breaks };
  }

  return { server, hasChanged: () => changed };
}
