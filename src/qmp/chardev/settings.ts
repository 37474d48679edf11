// A character device as its backend takes it, from the two forms in which it is described: `--chardev` and `chardev-add`.

import { flatAddress, netAddressOf } from '../../block/socket-address.js';
import type { NetAddress } from '../../host/net.js';
import type {
  ChardevBackend,
  ChardevCommon,
  ChardevOptions,
  ChardevSocketOptions,
} from '../../schema/generated/types.js';
import { BlockError } from '../../util/errors.js';

export interface SocketSettings {
  backend: 'socket';
  address: NetAddress;
  server: boolean;
  /** A server is open with its first client. */
  wait: boolean;
  /** 0: a client connects once. */
  reconnectSeconds: number;
  /** Id of TLS credentials. */
  tlsCreds: string | undefined;
  /** Id of an authorization object for a server's clients. */
  tlsAuthz: string | undefined;
}

type BackendSettings =
  | SocketSettings
  | { backend: 'file'; out: string; append: boolean; input: string | undefined }
  | { backend: 'pipe'; path: string }
  | { backend: 'null' }
  | { backend: 'stdio' }
  | { backend: 'pty' }
  | { backend: 'ringbuf' | 'memory'; bytes: number };

export type ChardevSettings = BackendSettings & {
  /** File to which all that is written to the device goes, too. */
  log: { path: string; append: boolean } | null;
};

/** Bytes of a ring buffer that does not say. */
const RING_BYTES = 65536;
const MAX_RING_BYTES = 64 << 20;
/** A day: longer, and a timer of the system cannot be set. */
const MAX_RECONNECT_SECONDS = 24 * 3600;

/** Throws `invalid-argument`, `limit`. */
export function settingsOfOptions(options: ChardevOptions): ChardevSettings {
  return { ...backendOfOptions(options), log: logOf(options) };
}

/** Throws as `settingsOfOptions`. */
export function settingsOfBackend(backend: ChardevBackend): ChardevSettings {
  return { ...backendOf(backend), log: logOf(backend.data) };
}

function backendOfOptions(options: ChardevOptions): BackendSettings {
  switch (options.backend) {
    case 'socket': {
      const { server = false, wait = server, ...others } = options;
      checkWait(options.wait, server);
      return socketSettings(addressOf(options), { ...others, server, wait });
    }
    case 'file': {
      const { path, append = false, 'input-path': input } = options;
      return { backend: 'file', out: path, append, input };
    }
    case 'pipe':
      return { backend: 'pipe', path: options.path };
    case 'ringbuf':
    case 'memory':
      return { backend: options.backend, bytes: ringBytes(options.size) };
    case 'null':
    case 'stdio':
    case 'pty':
      return { backend: options.backend };
  }
}

function backendOf(backend: ChardevBackend): BackendSettings {
  switch (backend.type) {
    case 'socket': {
      const { addr, server = true, wait = false, ...others } = backend.data;
      checkWait(backend.data.wait, server);
      return socketSettings(netAddressOf(flatAddress(addr)), { ...others, server, wait });
    }
    case 'file': {
      const { in: input, out, append = false } = backend.data;
      return { backend: 'file', out, append, input };
    }
    case 'pipe':
      return { backend: 'pipe', path: backend.data.device };
    case 'ringbuf':
    case 'memory':
      return { backend: backend.type, bytes: ringBytes(backend.data.size) };
    case 'null':
    case 'stdio':
    case 'pty':
      return { backend: backend.type };
  }
}

function logOf({ logfile: path, logappend: append = false }: ChardevCommon): ChardevSettings['log'] {
  return path === undefined ? null : { path, append };
}

function checkWait(wait: boolean | undefined, server: boolean): void {
  if (wait !== undefined && !server) {
    throw invalid("'wait' option is incompatible with socket in client connect mode");
  }
}

interface SocketWords {
  server: boolean;
  wait: boolean;
  reconnect?: number;
  nodelay?: boolean;
  'tls-creds'?: string;
  'tls-authz'?: string;
}

function socketSettings(address: NetAddress, words: SocketWords): SocketSettings {
  const { server, wait, reconnect = 0, nodelay, 'tls-creds': tlsCreds, 'tls-authz': tlsAuthz } = words;
  if (address.type === 'fd' || address.type === 'named-fd') {
    for (const option of ['reconnect', 'tls-creds'] as const) {
      if (words[option] !== undefined) throw invalid(`'${option}' option is incompatible with 'fd' address type`);
    }
  }
  if (tlsAuthz !== undefined && tlsCreds === undefined) {
    throw invalid("'tls_authz' option requires 'tls_creds' option");
  }
  if (words.reconnect !== undefined && server) {
    throw invalid("'reconnect' option is incompatible with socket in server listen mode");
  }
  if (tlsAuthz !== undefined && !server) throw invalid("'tls-authz' is for sockets in server listen mode");
  if (nodelay === false) throw invalid("'nodelay' cannot be off: TCP sends at once what is written");
  if (reconnect < 0 || reconnect > MAX_RECONNECT_SECONDS) {
    throw invalid(`'reconnect' expects seconds from 0 to ${MAX_RECONNECT_SECONDS}`);
  }
  return { backend: 'socket', address, server, wait: server && wait, reconnectSeconds: reconnect, tlsCreds, tlsAuthz };
}

function addressOf(options: ChardevSocketOptions): NetAddress {
  const { path, abstract, tight, host = 'localhost', port, to, ipv4, ipv6, fd } = options;
  if ([path, port, fd].filter((given) => given !== undefined).length !== 1) {
    throw invalid("a socket needs exactly one of 'path', 'port' and 'fd'");
  }
  if (path !== undefined) return netAddressOf({ type: 'unix', path, abstract, tight });
  if (port !== undefined) return netAddressOf({ type: 'inet', host, port, to, ipv4, ipv6 });
  return netAddressOf({ type: 'fd', str: fd as string });
}

function ringBytes(size: number | undefined): number {
  // As in the reference, 0 is the default, too.
  const bytes = size === undefined || size === 0 ? RING_BYTES : size;
  if (bytes < 0 || !Number.isInteger(Math.log2(bytes))) throw invalid('size of ringbuf chardev must be power of two');
  if (bytes > MAX_RING_BYTES) throw new BlockError('limit', `a ring buffer may have ${MAX_RING_BYTES} bytes at most`);
  return bytes;
}

function invalid(message: string): BlockError {
  return new BlockError('invalid-argument', message);
}
