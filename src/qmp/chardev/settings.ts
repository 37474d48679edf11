// A character device as its backend takes it, from the two forms in which it is described: `--chardev` and `chardev-add`.

import { flatAddress, netAddressOf } from '../../block/socket-address.js';
import type { NetAddress } from '../../host/net.js';
import type {
  ChardevBackend,
  ChardevOptions,
  ChardevSocket,
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
}

export type ChardevSettings =
  | SocketSettings
  | { backend: 'file'; out: string; append: boolean; input: string | undefined }
  | { backend: 'pipe'; path: string }
  | { backend: 'null' }
  | { backend: 'stdio' }
  | { backend: 'ringbuf' | 'memory'; bytes: number };

/** Bytes of a ring buffer that does not say. */
const RING_BYTES = 65536;
const MAX_RING_BYTES = 64 << 20;
/** A day: longer, and a timer of the system cannot be set. */
const MAX_RECONNECT_SECONDS = 24 * 3600;

/** Throws `invalid-argument`, `limit`. */
export function settingsOfOptions(options: ChardevOptions): ChardevSettings {
  switch (options.backend) {
    case 'socket': {
      const { server = false, wait, reconnect } = options;
      return socketSettings(addressOf(options), server, wait, server, reconnect);
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
      return { backend: options.backend };
  }
}

/** Throws as `settingsOfOptions`. */
export function settingsOfBackend(backend: ChardevBackend): ChardevSettings {
  switch (backend.type) {
    case 'socket': {
      const { addr, server = true, wait, reconnect }: ChardevSocket = backend.data;
      return socketSettings(netAddressOf(flatAddress(addr)), server, wait, false, reconnect);
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
      return { backend: backend.type };
  }
}

function socketSettings(
  address: NetAddress,
  server: boolean,
  wait: boolean | undefined,
  waitsByDefault: boolean,
  reconnect: number | undefined,
): SocketSettings {
  if (wait !== undefined && !server) {
    throw invalid("'wait' option is incompatible with socket in client connect mode");
  }
  if (reconnect !== undefined && (address.type === 'fd' || address.type === 'named-fd')) {
    throw invalid("'reconnect' option is incompatible with 'fd' address type");
  }
  if (reconnect !== undefined && server) {
    throw invalid("'reconnect' option is incompatible with socket in server listen mode");
  }
  const reconnectSeconds = reconnect ?? 0;
  if (reconnectSeconds < 0 || reconnectSeconds > MAX_RECONNECT_SECONDS) {
    throw invalid(`'reconnect' expects seconds from 0 to ${MAX_RECONNECT_SECONDS}`);
  }
  return { backend: 'socket', address, server, wait: server && (wait ?? waitsByDefault), reconnectSeconds };
}

function addressOf(options: ChardevSocketOptions): NetAddress {
  const { path, abstract, host = 'localhost', port, ipv4, ipv6, fd } = options;
  if ([path, port, fd].filter((given) => given !== undefined).length !== 1) {
    throw invalid("a socket needs exactly one of 'path', 'port' and 'fd'");
  }
  if (path !== undefined) return netAddressOf({ type: 'unix', path, abstract });
  if (port !== undefined) return netAddressOf({ type: 'inet', host, port, ipv4, ipv6 });
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
