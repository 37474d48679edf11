// Files that say which keys servers have: known_hosts, as sshd(8) describes it under SSH_KNOWN_HOSTS FILE FORMAT.
//
//   [@revoked] name,name,!name type key [comment]     |1|salt|hash: a name that is not to be read
//
// Keys of authorities that sign those of servers (@cert-authority) are not used.

import { hmacSha1 } from '../../../host/digest.js';
import { decodeBase64 } from '../../../util/base64.js';
import { BlockError } from '../../../util/errors.js';

interface Line {
  /** False: `@revoked`. */
  readonly trusted: boolean;
  readonly names: string;
  readonly type: string;
  /** As it travels (RFC 4253, section 6.6). */
  readonly key: Uint8Array;
}

export type Verdict = 'known' | 'changed' | 'other-type' | 'revoked' | 'unknown';

const HASH_BYTES = 20;

/** What such files call a server. */
export function serverName(host: string, port: number): string {
  const name = host.toLowerCase();
  return port === 22 ? name : `[${name}]:${port}`;
}

export class KnownHosts {
  /** The lines that name the server. */
  readonly #lines: readonly Line[];

  /** `texts`: the files; lines that cannot be read are left out, as by ssh. */
  constructor(texts: readonly string[], name: string) {
    const lines = texts.flatMap((text) => text.split('\n')).map((text) => parseLine(text));
    this.#lines = lines.filter((line) => line !== null && isNamed(line.names, name)) as Line[];
  }

  /** Types of the keys that the server is known by. */
  get types(): string[] {
    return [...new Set(this.#lines.filter(({ trusted }) => trusted).map(({ type }) => type))];
  }

  verdict(key: Uint8Array): Verdict {
    const same = this.#lines.filter((line) => isSame(line.key, key));
    if (same.some(({ trusted }) => !trusted)) return 'revoked';
    if (same.length > 0) return 'known';
    const { types } = this;
    if (types.length === 0) return 'unknown';
    return types.includes(keyType(key)) ? 'changed' : 'other-type';
  }
}

/** `ssh-ed25519`; empty for what is no key. */
export function keyType(key: Uint8Array): string {
  if (key.length < 4) return '';
  const view = new DataView(key.buffer, key.byteOffset, key.byteLength);
  const length = view.getUint32(0);
  return length > key.length - 4 ? '' : new TextDecoder('latin1').decode(key.subarray(4, 4 + length));
}

function parseLine(text: string): Line | null {
  const words = text.trim().split(/[ \t]+/);
  if (words[0] === '' || words[0].startsWith('#')) return null;
  const marker = words[0].startsWith('@') ? words.shift() : undefined;
  if (marker !== undefined && marker !== '@revoked') return null;
  const [names, type, encoded] = words;
  const key = encoded === undefined ? null : bytesOf(encoded);
  if (key === null || keyType(key) !== type) return null;
  return { trusted: marker === undefined, names, type, key };
}

/** Whether a list of patterns has the name. One that is excluded is not had, whatever else stands there. */
function isNamed(list: string, name: string): boolean {
  if (list.startsWith('|')) return isHashOf(list, name);
  let found = false;
  for (const pattern of list.toLowerCase().split(',')) {
    if (pattern.startsWith('!')) {
      if (fits(pattern.slice(1), name)) return false;
    } else if (fits(pattern, name)) found = true;
  }
  return found;
}

/** `*`: any characters, `?`: any one. In time that grows with the product of the lengths: such a file may have been written by anybody. */
function fits(pattern: string, name: string): boolean {
  let [p, n] = [0, 0];
  let [star, from] = [-1, 0];
  while (n < name.length) {
    if (p < pattern.length && pattern[p] === '*') {
      star = p++;
      from = n;
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === name[n])) {
      p++;
      n++;
    } else if (star >= 0) {
      p = star + 1;
      n = ++from;
    } else return false;
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}

function isHashOf(text: string, name: string): boolean {
  const [, version, salt, hash] = text.split('|');
  if (version !== '1' || salt === undefined || hash === undefined) return false;
  const [key, wanted] = [bytesOf(salt), bytesOf(hash)];
  if (key?.length !== HASH_BYTES || wanted?.length !== HASH_BYTES) return false;
  return isSame(hmacSha1(key, name), wanted);
}

/** Null for what is no Base64. */
function bytesOf(text: string): Uint8Array | null {
  try {
    return decodeBase64(text);
  } catch (error) {
    if (!(error instanceof BlockError)) throw error;
    return null;
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
