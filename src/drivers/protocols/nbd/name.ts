// Names of NBD exports:
//
//   nbd://host[:port][/export]       nbd+unix://[/export]?socket=path        nbds:// and nbds+unix:// with ?tls-creds=ID
//   nbd:host:port[:exportname=name]  nbd:unix:path[:exportname=name]         the old syntax
//
// Specification: doc/uri.md of the NBD project. Unlike in QEMU, a name that is printed can be parsed again: characters with a meaning in a URI are
// escaped, and IPv6 addresses have brackets.

import type { BlockdevOptionsNbd } from '../../../schema/generated/types.js';
import { formatJsonFilename } from '../../../schema/options.js';
import { BlockError } from '../../../util/errors.js';
import { decodeName, encodeName, hasRawBytes } from '../../../util/name-bytes.js';
import { NBD_DEFAULT_PORT } from '../../../wire/nbd/constants.js';

const URI = /^nbds?(\+unix|\+tcp)?:\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#.*)?$/;
const EXPORT_MARK = ':exportname=';

/** Parses a file name of either syntax. Throws `invalid-argument`. */
export function parseNbdName(filename: string): BlockdevOptionsNbd {
  return filename.includes('://') ? parseUri(filename) : parseOldName(filename);
}

/** The file name of an export; options that a URI cannot express make it a `json:` name. Credentials are left out. */
export function formatNbdName({ server, export: name }: BlockdevOptionsNbd): string {
  try {
    const path = name === undefined ? '' : `/${encoded(name, /[?#]/g)}`;
    if (server.type === 'unix') {
      const socket = encoded(server.abstract === true ? `\0${server.path}` : server.path, /[?#&;+]/g);
      return `nbd+unix://${path}?socket=${socket}`;
    }
    const special = server.type === 'fd' || [server.numeric, server.ipv4, server.ipv6].some((set) => set !== undefined);
    if (!special) return `nbd://${server.host.includes(':') ? `[${server.host}]` : server.host}:${server.port}${path}`;
  } catch (error) {
    // The text has an unpaired surrogate, which cannot be escaped.
    if (!(error instanceof URIError)) throw error;
  }
  const members = Object.entries(server).map(([key, value]) => [`server.${key}`, value]);
  return formatJsonFilename({ driver: 'nbd', ...Object.fromEntries(members), export: name });
}

function encoded(text: string, also: RegExp): string {
  // A byte that is not UTF-8 is escaped by itself.
  const parts = text.split(/([\udc80-\udcff]+)/u).map((part, index) => {
    if (index % 2 === 0) return encodeURI(part).replace(also, encodeURIComponent);
    return [...part].map((unit) => `%${(unit.charCodeAt(0) & 0xff).toString(16).toUpperCase()}`).join('');
  });
  return parts.join('');
}

function parseUri(filename: string): BlockdevOptionsNbd {
  const match = URI.exec(filename);
  if (match === null) throw invalid(filename, 'it is not of the form nbd://host:port/export');
  const [, transport, authority, path, query] = match;
  const parameters = parseQuery(filename, query ?? '');
  const take = (key: string): string | undefined => {
    const value = parameters.get(key);
    parameters.delete(key);
    return value;
  };
  const tls = filename.startsWith('nbds');
  const creds = tls ? take('tls-creds') : undefined;
  const hostname = tls ? take('tls-hostname') : undefined;
  const socket = transport === '+unix' ? take('socket') : undefined;
  for (const key of parameters.keys()) throw invalid(filename, `unknown parameter '${key}'`);
  if (tls && creds === undefined) {
    throw invalid(filename, 'TLS needs credentials, which are an object of their own: add ?tls-creds=ID');
  }
  const name = decoded(filename, path.slice(1));
  const server = transport === '+unix' ? unixServer(filename, authority, socket) : inetServer(filename, authority);
  return {
    server,
    ...(name !== '' && { export: name }),
    ...(creds !== undefined && { 'tls-creds': creds }),
    ...(hostname !== undefined && { 'tls-hostname': hostname }),
  };
}

function unixServer(filename: string, authority: string, socket: string | undefined): BlockdevOptionsNbd['server'] {
  if (authority !== '') throw invalid(filename, 'a UNIX socket has no host: the export begins with a third slash');
  if (socket === undefined || socket === '') throw invalid(filename, 'the parameter socket is missing');
  if (socket.startsWith('\0')) return { type: 'unix', path: socket.slice(1), abstract: true };
  return { type: 'unix', path: socket };
}

function inetServer(filename: string, authority: string): BlockdevOptionsNbd['server'] {
  if (authority.includes('@')) throw invalid(filename, 'a user name is given with the credentials, not here');
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d*))?$/.exec(authority);
  if (match === null) throw invalid(filename, 'the host is missing or malformed');
  const port = Number(match[3] ?? 0);
  if (port > 65535) throw invalid(filename, `port ${match[3]} is above 65535`);
  const host = decoded(filename, match[1] ?? match[2]);
  return { type: 'inet', host, port: String(port === 0 ? NBD_DEFAULT_PORT : port) };
}

function parseQuery(filename: string, query: string): Map<string, string> {
  const parameters = new Map<string, string>();
  for (const item of query.split(/[&;]/)) {
    if (item === '') continue;
    const equals = item.indexOf('=');
    const key = decoded(filename, equals < 0 ? item : item.slice(0, equals));
    if (parameters.has(key)) throw invalid(filename, `the parameter '${key}' is given twice`);
    parameters.set(key, equals < 0 ? '' : decoded(filename, item.slice(equals + 1), key === 'socket'));
  }
  return parameters;
}

/** Decodes escapes. Only a socket's name may have bytes that are not UTF-8, or begin with a zero byte (abstract). Throws `invalid-argument`. */
function decoded(filename: string, text: string, socket = false): string {
  let result: string;
  try {
    result = percentDecoded(text);
    if (!socket && hasRawBytes(result)) throw new URIError('no UTF-8');
  } catch (cause) {
    throw invalid(filename, `'${text}' is escaped wrongly`, cause);
  }
  if (result.lastIndexOf('\0') > (socket ? 0 : -1)) throw invalid(filename, 'it contains a zero byte');
  return result;
}

/** Throws where an escape is malformed. */
function percentDecoded(text: string): string {
  if (!text.includes('%')) return text;
  if (/%(?![\da-f]{2})/i.test(text)) throw new URIError('URI malformed');
  const latin1 = encodeName(text)
    .toString('latin1')
    .replace(/%([\da-f]{2})/gi, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));
  return decodeName(Buffer.from(latin1, 'latin1'));
}

function parseOldName(filename: string): BlockdevOptionsNbd {
  const mark = filename.indexOf(EXPORT_MARK);
  const place = filename.slice('nbd:'.length, mark < 0 ? undefined : mark);
  const name = mark < 0 ? {} : { export: filename.slice(mark + EXPORT_MARK.length) };
  if (filename.includes('\0')) throw invalid(filename, 'it contains a zero byte');
  if (!filename.startsWith('nbd:'))
    throw new BlockError('invalid-argument', "File name string for NBD must start with 'nbd:'");
  if (place === '') throw new BlockError('invalid-argument', 'NBD server address missing');
  if (place.startsWith('unix:')) {
    const path = place.slice('unix:'.length);
    if (path === '') throw invalid(filename, 'the socket is missing');
    return { server: { type: 'unix', path }, ...name };
  }
  const match = /^(?:\[([^\]]+)\]|([^:/[\]]+)):(\d{1,5})$/.exec(place);
  if (match === null || Number(match[3]) > 65535) {
    throw new BlockError('invalid-argument', `error parsing address '${place}'`, { path: filename });
  }
  return { server: { type: 'inet', host: match[1] ?? match[2], port: String(Number(match[3])) }, ...name };
}

function invalid(filename: string, why: string, cause?: unknown): BlockError {
  return new BlockError('invalid-argument', `No valid URL specified: ${why}`, { path: filename, cause });
}
