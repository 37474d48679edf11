// Connects to an address.
import { constants } from 'node:os';
import { BlockError } from '../../util/errors.js';
import { encodeName } from '../../util/name-bytes.js';
import type { Link, NumberedAddress } from '../net.js';
import { addressText, peerText } from '../net-address.js';
import { SocketLink } from './link.js';
import { errnoNetError, notASocket } from './net-errors.js';
import type { OpenSockets } from './open-sockets.js';
import { resolveHost } from './resolve.js';
import { abstractName } from './socket-file.js';
import { SocketEvent, SocketKind, type Sockets } from './sockets.js';

/** Pause between attempts to connect to a UNIX socket whose queue of connections is full. */
const RETRY_MS = 5;

const { EAGAIN, ECONNREFUSED } = constants.errno;

/** One attempt to connect. It ends early at its time limit, or when the host is closed. */
export class Connecting {
  #sockets: Sockets;
  #address: NumberedAddress;
  #open: OpenSockets;
  #path: string;
  /** Why the attempt was ended. */
  #stopped: BlockError | null = null;
  #stop: (error: BlockError) => void = () => undefined;

  /** `text`: the address as messages name it. */
  constructor(sockets: Sockets, address: NumberedAddress, text: string, open: OpenSockets) {
    this.#sockets = sockets;
    this.#address = address;
    this.#open = open;
    this.#path = text;
  }

  /** See `Net.connect`. */
  async run(timeoutMs: number): Promise<Link> {
    this.#open.add(this);
    const text = `Failed to connect to '${this.#path}': no answer within ${timeoutMs} ms`;
    const timer = timeoutMs > 0 ? setTimeout(() => this.#giveUp('cancelled', text), timeoutMs) : undefined;
    try {
      return await this.#connect();
    } finally {
      clearTimeout(timer);
      this.#open.delete(this);
    }
  }

  async close(): Promise<void> {
    this.#giveUp('closed', `Failed to connect to '${this.#path}': the host is closed`);
  }

  #connect(): Promise<Link> {
    const address = this.#address;
    switch (address.type) {
      case 'unix':
        return this.#connectUnix(nameOf(address), address.abstract ?? false);
      case 'inet':
        return this.#connectInet(address.host, address.port, address.family ?? 0, address.keepAlive ?? false);
      case 'fd':
        return this.#adopt(address.fd);
    }
  }

  async #connectUnix(name: Uint8Array, abstract: boolean): Promise<Link> {
    for (;;) {
      const fd = this.#sockets.native.connectUnix(name, abstract);
      if (fd >= 0) return SocketLink.over(this.#sockets, fd, peerText(this.#address), this.#open);
      if (fd !== -EAGAIN) throw this.#failure(fd);
      await this.#unlessStopped(new Promise<void>((resolve) => setTimeout(resolve, RETRY_MS)));
    }
  }

  async #connectInet(host: string, port: number, family: 0 | 4 | 6, keepAlive: boolean): Promise<Link> {
    const { native } = this.#sockets;
    let failed = -ECONNREFUSED;
    for (const one of await this.#unlessStopped(resolveHost(host === '' ? 'localhost' : host, port, family))) {
      const fd = native.connectInet(one, port);
      if (fd < 0) {
        failed = fd;
        continue;
      }
      if (keepAlive) native.keepAlive(fd);
      const id = await this.#connected(fd);
      const peer = addressText({ type: 'inet', host: one, port });
      if (id >= 0) return new SocketLink(this.#sockets, id, peer, this.#open);
      failed = id;
    }
    throw this.#failure(failed);
  }

  async #adopt(fd: number): Promise<Link> {
    const { native } = this.#sockets;
    const listens = native.adoptSocket(fd);
    if (listens < 0) throw notASocket(fd, 'connect');
    if (listens === 1) {
      const text = `${this.#path} listens: it is not connected`;
      throw new BlockError('invalid-argument', text, { operation: 'connect', path: this.#path });
    }
    return SocketLink.over(this.#sockets, fd, native.nameOfSocket(fd, true) || this.#path, this.#open);
  }

  /** Waits until `fd` is connected. Resolves with its id, or -errno. */
  async #connected(fd: number): Promise<number> {
    const sockets = this.#sockets;
    let settle: (id: number) => void = () => undefined;
    const outcome = new Promise<number>((resolve) => {
      settle = resolve;
    });
    const id = sockets.attach(fd, SocketKind.connecting, {
      onSocket: (event, value) => settle(event === SocketEvent.connected ? id : value),
    });
    if (id < 0) return id;
    try {
      return await this.#unlessStopped(outcome);
    } catch (error) {
      sockets.close(id);
      throw error;
    }
  }

  #giveUp(code: 'cancelled' | 'closed', message: string): void {
    this.#stopped ??= new BlockError(code, message, { operation: 'connect', path: this.#path });
    this.#stop(this.#stopped);
  }

  async #unlessStopped<T>(step: Promise<T>): Promise<T> {
    const stopped = new Promise<never>((_, reject) => {
      this.#stop = reject;
    });
    if (this.#stopped !== null) throw this.#stopped;
    return Promise.race([step, stopped]);
  }

  #failure(errno: number): BlockError {
    return errnoNetError(errno, `Failed to connect to '${this.#path}'`, 'connect', this.#path);
  }
}

function nameOf({ path, abstract, padded = false }: Extract<NumberedAddress, { type: 'unix' }>): Uint8Array {
  return abstract === true ? abstractName(path, padded) : encodeName(path);
}
