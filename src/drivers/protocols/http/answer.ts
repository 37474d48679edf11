// What the head of an HTTP answer says: RFC 9110, sections 8.8 (which version of the file it is), 14 (ranges) and 15 (status).

import { BlockError, type BlockErrorCode } from '../../../util/errors.js';

export type Header = (name: string) => string | undefined;

const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);
const CODES: Readonly<Record<number, BlockErrorCode>> = {
  401: 'permission',
  403: 'permission',
  404: 'not-found',
  407: 'permission',
  410: 'not-found',
};
const REDIRECTIONS = new Set([301, 302, 303, 307, 308]);

export const isRedirection = (status: number): boolean => REDIRECTIONS.has(status);

/** The error for an answer that is not what was asked for: `io` where another attempt may do. */
export function statusError(path: string, status: number, operation: string): BlockError {
  const code = PASSING.has(status) ? 'io' : (CODES[status] ?? 'refused');
  return BlockError.at(path, code, `The requested URL returned error: ${status}`, { operation });
}

/** What a server says of which version of a file it has; empty where it says nothing. */
export interface Version {
  etag: string;
  modified: string;
}

export function versionOf(header: Header): Version {
  return { etag: header('etag') ?? '', modified: header('last-modified') ?? '' };
}

/**
 * What is known after an answer that says `said`, with what was known before: a server may say more to one kind of request than to another. Null: it is another version, or
 * cannot be told from one.
 */
export function sameVersion(known: Version, said: Version): Version | null {
  const { etag, modified } = known;
  const both = { etag: etag || said.etag, modified: modified || said.modified };
  if (etag !== '' && said.etag !== '') return etag === said.etag ? both : null;
  if (modified !== '' && said.modified !== '') return modified === said.modified ? both : null;
  return etag === '' && modified === '' ? both : null;
}

/** `If-Match` takes no weak tags (RFC 9110, 13.1.1). */
export function conditionFor({ etag }: Version): Record<string, string> {
  return etag.startsWith('"') ? { 'if-match': etag } : {};
}

/** A size in decimal digits; null where there is none that a number holds. */
export function sizeOf(text: string | undefined): number | null {
  if (text === undefined || !/^\d{1,16}$/.test(text.trim())) return null;
  const size = Number(text);
  return Number.isSafeInteger(size) ? size : null;
}

export interface ContentRange {
  first: number;
  /** The last byte that is sent. */
  last: number;
  /** Null: the server does not know. */
  total: number | null;
}

/** `bytes 0-99/1000`; null where it is nothing of the kind. */
export function rangeOf(text: string | undefined): ContentRange | null {
  const match = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)$/i.exec(text?.trim() ?? '');
  if (match === null) return null;
  const [first, last] = [Number(match[1]), Number(match[2])];
  const total = match[3] === '*' ? null : Number(match[3]);
  if (!Number.isSafeInteger(last) || last < first || (total !== null && last >= total)) return null;
  return { first, last, total };
}
