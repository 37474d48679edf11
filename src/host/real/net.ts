// Sockets of the real host.
import { BlockError } from '../../util/errors.js';
import { nameLength } from '../../util/name-bytes.js';
import type { InetAddress, Link, Listener, Net, NetAddress, NumberedAddress, TlsSettings } from '../net.js';
import { addressText } from '../net-address.js';
import type { PassedDescriptors } from '../passed-descriptors.js';
import type { Native, NativeEngine } from './binding.js';
import { Connecting } from './connect.js';
import { startListening } from './listen.js';
import type { ArenaMemory } from './memory.js';
import { OpenSockets } from './open-sockets.js';
import { PATH_LIMIT_BYTES } from './socket-file.js';
import { Sockets } from './sockets.js';
import { checkSettings } from './tls-context.js';

/** The kernel reduces it to its own limit (net.core.somaxconn). */
const DEFAULT_BACKLOG = 4096;

export class RealNet implements Net {
  #native: Native;
  #calls: NativeEngine;
  #memory: ArenaMemory;
  #open = new OpenSockets();
  #sockets: Sockets | undefined;
  #closed = false;

  readonly #passed: PassedDescriptors;

  constructor(native: Native, calls: NativeEngine, memory: ArenaMemory, passed: PassedDescriptors) {
    this.#passed = passed;
    this.#native = native;
    this.#calls = calls;
    this.#memory = memory;
  }

  async listen(
    address: NetAddress,
    accept: (link: Link) => void,
    options: { backlog?: number } = {},
  ): Promise<Listener> {
    this.#check(address, 'listen');
    return startListening(
      this.#table(),
      this.#numbered(address, true),
      accept,
      options.backlog ?? DEFAULT_BACKLOG,
      this.#open,
    );
  }

  async connect(address: NetAddress, options: { timeoutMs?: number } = {}): Promise<Link> {
    this.#check(address, 'connect');
    const numbered = this.#numbered(address, false);
    return new Connecting(this.#table(), numbered, addressText(address), this.#open).run(options.timeoutMs ?? 0);
  }

  checkTls(settings: TlsSettings): void {
    checkSettings(settings);
  }

  /** Ends all links and listeners. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#open.close();
  }

  /** The table of sockets, made at its first use: most commands have no sockets. */
  #table(): Sockets {
    this.#sockets ??= new Sockets(this.#native, this.#calls, this.#memory);
    return this.#sockets;
  }

  /** A descriptor's name stands for its number once: from here on it is the socket's. Throws `not-found`, `invalid-argument`; then it is closed. */
  #numbered(address: NetAddress, toListen: boolean): NumberedAddress {
    if (address.type === 'unix') return address;
    if (address.type === 'inet') return { ...address, port: this.#portOf(address) };
    if (address.type === 'fd' && this.#passed.takesNumbers) return address;
    const name = address.type === 'fd' ? String(address.fd) : address.name;
    const fd = this.#passed.take(name);
    const listens = this.#native.adoptSocket(fd);
    if (listens === (toListen ? 1 : 0)) return { type: 'fd', fd };
    this.#native.closeSocket(fd);
    const why = listens < 0 ? 'is not a socket' : toListen ? 'does not listen' : 'listens: it is not connected';
    throw new BlockError('invalid-argument', `File descriptor '${name}' ${why}`, { operation: 'open' });
  }

  /** Throws `invalid-argument` where there is no service of that name. */
  #portOf(address: InetAddress): number {
    if (typeof address.port === 'number') return address.port;
    const port = this.#native.servicePort(address.port);
    if (port >= 0) return port;
    const path = addressText(address);
    const why = `address resolution failed for ${path}: Servname not supported for ai_socktype`;
    throw new BlockError('invalid-argument', why, { operation: 'resolve', path });
  }

  #check(address: NetAddress, operation: string): void {
    const path = addressText(address);
    const fail = (code: 'closed' | 'invalid-argument', why: string) => {
      throw BlockError.at(path, code, why, { operation });
    };
    if (this.#closed) fail('closed', 'the host is closed');
    if (address.type === 'unix') {
      if (address.path === '' || address.path.includes('\0')) fail('invalid-argument', 'not a name of a socket');
      if (nameLength(address.path) > PATH_LIMIT_BYTES) {
        const hint = `Path must be less than ${PATH_LIMIT_BYTES + 1} bytes`;
        const why = `UNIX socket path '${address.path}' is too long\n${hint}`;
        throw new BlockError('invalid-argument', why, { operation, path });
      }
    } else if (address.type === 'inet') {
      const { port, lastPort } = address;
      const listens = operation === 'listen';
      const isPort = (one: number) => Number.isInteger(one) && one >= (listens ? 0 : 1) && one <= 65535;
      if (typeof port === 'number' && !isPort(port)) fail('invalid-argument', `not a port: ${port}`);
      if (lastPort === undefined) return;
      if (!listens) fail('invalid-argument', "'to' is for sockets that listen");
      if (!isPort(lastPort)) fail('invalid-argument', `not a port: ${lastPort}`);
    } else if (address.type === 'fd' && (!Number.isInteger(address.fd) || address.fd < 0)) {
      fail('invalid-argument', 'not a descriptor');
    }
  }
}
