// Names of files on other machines: ssh://[user@]server[:port]/path[?host_key_check=yes|no|md5:...|sha1:...|sha256:...]
//
// Unlike in QEMU, a name that is printed can be parsed again: characters with a meaning in a URI are escaped, and the check is in it whichever way it was given.

import type { BlockdevOptionsSsh, SshHostKeyCheck } from '../../../schema/generated/types.js';
import { formatJsonFilename } from '../../../schema/options.js';
import { BlockError } from '../../../util/errors.js';

export const SSH_DEFAULT_PORT = '22';
const URI = /^ssh:(?:\/\/([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#.*)?$/;
const CHECK = 'host_key_check';
const HASH = /^(md5|sha1|sha256):(.*)$/s;

/** Throws `invalid-argument`, with QEMU's words where it has any. */
export function parseSshName(filename: string): BlockdevOptionsSsh {
  const [, authority = '', path, query = ''] = URI.exec(filename)!;
  const match = /^(?:(.*)@)?(?:\[([^\]]*)\]|([^:[\]]*))(?::(\d+))?$/s.exec(authority);
  if (match === null) throw invalid(filename, `'${authority}' is no server`);
  const [user, host, port] = [match[1], match[2] ?? match[3], Number(match[4] ?? 0)];
  if (host === '') throw new BlockError('invalid-argument', 'missing hostname in URI');
  if (path === '') throw new BlockError('invalid-argument', 'missing remote path in URI');
  const check = checkIn(filename, query);
  return {
    server: { host: decoded(filename, host), port: port === 0 ? SSH_DEFAULT_PORT : String(port) },
    path: decoded(filename, path),
    ...(user !== undefined && { user: decoded(filename, user) }),
    ...(check !== undefined && { 'host-key-check': parseCheck(check) }),
  };
}

/** Other parameters mean nothing, as in QEMU; of several, the last one counts. */
function checkIn(filename: string, query: string): string | undefined {
  let found: string | undefined;
  for (const item of query.split(/[&;]/)) {
    const [key] = item.split('=', 1);
    if (decoded(filename, key) === CHECK) found = decoded(filename, item.slice(key.length + 1));
  }
  return found;
}

/** `yes`, `no`, `sha256:...`. Throws `invalid-argument`. */
export function parseCheck(text: string): SshHostKeyCheck {
  if (text === 'no') return { mode: 'none' };
  if (text === 'yes') return { mode: 'known_hosts' };
  const [, type, hash] = HASH.exec(text) ?? [];
  if (type !== undefined) return { mode: 'hash', type: type as 'md5' | 'sha1' | 'sha256', hash };
  throw new BlockError('invalid-argument', `unknown host_key_check setting (${text})`);
}

function formatCheck(check: SshHostKeyCheck): string {
  if (check.mode === 'hash') return `${check.type}:${check.hash}`;
  return check.mode === 'none' ? 'no' : 'yes';
}

/** The name that opens the file again; `localUser`: the user where the options name none. */
export function formatSshName(options: BlockdevOptionsSsh, localUser?: string): string {
  const { server, path, 'host-key-check': check } = options;
  const user = options.user ?? localUser;
  const { host, port, ...others } = server;
  const isPlain = Object.values(others).every((value) => value === undefined) && path.startsWith('/');
  if (isPlain && /^\d+$/.test(port)) {
    try {
      const who = user === undefined ? '' : `${encoded(user, /[@/:?#]/g)}@`;
      const where = `${host.includes(':') ? `[${host}]` : encoded(host, /[@/?#]/g)}:${port}`;
      const how = check === undefined ? '' : `?${CHECK}=${encoded(formatCheck(check), /[&;#]/g)}`;
      return `ssh://${who}${where}${encoded(path, /[?#]/g)}${how}`;
    } catch (error) {
      // The text has an unpaired surrogate, which cannot be escaped.
      if (!(error instanceof URIError)) throw error;
    }
  }
  return formatJsonFilename({ driver: 'ssh', ...flat('server', server), path, user, ...flat('host-key-check', check) });
}

function flat(name: string, value: object | undefined): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value ?? {}).map(([key, member]) => [`${name}.${key}`, member]));
}

function encoded(text: string, also: RegExp): string {
  return encodeURI(text).replace(also, encodeURIComponent);
}

/** Throws `invalid-argument`. */
function decoded(filename: string, text: string): string {
  let result: string;
  try {
    result = decodeURIComponent(text);
  } catch (cause) {
    throw invalid(filename, `'${text}' is escaped wrongly`, cause);
  }
  if (result.includes('\0')) throw invalid(filename, 'it contains a zero byte');
  return result;
}

function invalid(filename: string, why: string, cause?: unknown): BlockError {
  return new BlockError('invalid-argument', `No valid URL specified: ${why}`, { path: filename, cause });
}
