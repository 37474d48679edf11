// Sockets of the real host.
import type { NetConnectOpts, Server, Socket } from 'node:net';
import { BlockError } from '../../util/errors.js';
import type { Link, Listener, Net, NetAddress, TlsSettings } from '../net.js';
import { addressText, peerText } from '../net-address.js';
import { netError } from './net-errors.js';
import { OpenSockets } from './open-sockets.js';
import { removeSocketFile } from './socket-file.js';
import { StreamLink } from './stream-link.js';
import { checkSettings } from './tls-context.js';

type Inet = Extract<NetAddress, { type: 'inet' }>;

const DEFAULT_BACKLOG = 128;
/** Longest path of a UNIX socket (sun_path, with a NUL behind it). */
const PATH_LIMIT_BYTES = 107;

/** Loaded when the first socket is: most commands have none. */
function nodeNet(): typeof import('node:net') {
  return process.getBuiltinModule('node:net');
}

export class RealNet implements Net {
  #open = new OpenSockets();
  #closed = false;

  async listen(
    address: NetAddress,
    accept: (link: Link) => void,
    options: { backlog?: number } = {},
  ): Promise<Listener> {
    this.#check(address, 'listen');
    const server = nodeNet().createServer({ pauseOnConnect: true });
    if (address.type === 'unix') await removeSocketFile(address.path);
    await listening(server, address, options.backlog ?? DEFAULT_BACKLOG);
    server.on('connection', (socket) => accept(this.#linkOf(socket, address)));
    // Out of descriptors, say: those that are there go on, and accepting goes on with the next one.
    server.on('error', () => undefined);
    const listener: Listener = {
      address: addressOf(server, address),
      close: async () => {
        this.#open.delete(listener);
        server.close();
      },
    };
    this.#open.add(listener);
    return listener;
  }

  async connect(address: NetAddress, options: { timeoutMs?: number } = {}): Promise<Link> {
    this.#check(address, 'connect');
    return this.#linkOf(await connected(address, options.timeoutMs ?? 0), address);
  }

  checkTls(settings: TlsSettings): void {
    checkSettings(settings);
  }

  /** Ends all links and listeners. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#open.close();
  }

  #linkOf(socket: Socket, address: NetAddress): Link {
    const { remoteAddress: host, remotePort: port } = socket;
    const inet = host !== undefined && port !== undefined;
    if (inet) {
      socket.setNoDelay(true);
      if (address.type === 'inet' && address.keepAlive === true) socket.setKeepAlive(true);
    }
    // A socket for both families shows IPv4 addresses in the clothes of IPv6.
    const peer = inet ? addressText({ type: 'inet', host: host.replace(/^::ffff:/, ''), port }) : peerText(address);
    return new StreamLink(socket, peer, null, this.#open);
  }

  #check(address: NetAddress, operation: string): void {
    const path = addressText(address);
    const fail = (code: 'closed' | 'invalid-argument', why: string) => {
      throw new BlockError(code, `${path}: ${why}`, { operation, path });
    };
    if (this.#closed) fail('closed', 'the host is closed');
    if (address.type !== 'unix') return;
    if (address.path === '' || address.path.includes('\0')) fail('invalid-argument', 'not a name of a socket');
    if (Buffer.byteLength(address.path) > PATH_LIMIT_BYTES) {
      fail('invalid-argument', `a UNIX socket path may have ${PATH_LIMIT_BYTES} bytes at most`);
    }
  }
}

function listening(server: Server, address: NetAddress, backlog: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const path = addressText(address);
    server.once('listening', resolve);
    server.once('error', (error) => {
      const what =
        address.type === 'unix'
          ? `Failed to bind socket to ${path}`
          : address.type === 'inet' && (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
            ? 'Failed to find an available port'
            : 'Failed to bind socket';
      reject(netError(error, what, 'listen', path));
    });
    if (address.type === 'unix') server.listen({ path: address.path, backlog });
    else if (address.type === 'fd') server.listen({ fd: address.fd, backlog });
    else server.listen({ ...placeToListen(address), backlog });
  });
}

/** An empty host: all addresses of the family, or of both. */
function placeToListen({ host, port, family }: Inet): { host?: string; port: number; ipv6Only?: boolean } {
  if (host !== '') return { host, port, ipv6Only: family === 6 };
  if (family === 4) return { host: '0.0.0.0', port };
  return family === 6 ? { host: '::', port, ipv6Only: true } : { port };
}

function addressOf(server: Server, asked: NetAddress): NetAddress {
  const found = server.address();
  if (asked.type !== 'inet' || found === null || typeof found === 'string') return asked;
  return { ...asked, port: found.port };
}

function connected(address: NetAddress, timeoutMs: number): Promise<Socket> {
  const path = addressText(address);
  return new Promise((resolve, reject) => {
    const socket = startToConnect(address);
    if (address.type === 'fd') {
      resolve(socket);
      return;
    }
    let timer: NodeJS.Timeout | undefined;
    const done = () => {
      clearTimeout(timer);
      socket.off('error', fail);
      resolve(socket);
    };
    const fail = (error: unknown) => {
      clearTimeout(timer);
      socket.off('connect', done);
      socket.destroy();
      reject(netError(error, `Failed to connect to '${path}'`, 'connect', path));
    };
    socket.once('connect', done);
    // Stays after a failure: a socket that is given up may say more.
    socket.on('error', fail);
    if (timeoutMs > 0) {
      const text = `Failed to connect to '${path}': no answer within ${timeoutMs} ms`;
      timer = setTimeout(() => fail(new BlockError('cancelled', text, { operation: 'connect', path })), timeoutMs);
    }
  });
}

function startToConnect(address: NetAddress): Socket {
  const net = nodeNet();
  if (address.type === 'fd') return new net.Socket({ fd: address.fd });
  const options: NetConnectOpts =
    address.type === 'unix'
      ? { path: address.path }
      : { host: address.host, port: address.port, family: address.family ?? 0 };
  const socket = net.connect(options);
  socket.pause();
  return socket;
}
