// A listener: one address may take several sockets (`localhost` is two).
import { detach, reportUnforeseen } from '../../util/best-effort.js';
import type { Link, Listener, NetAddress } from '../net.js';
import { addressText, peerText } from '../net-address.js';
import { SocketLink } from './link.js';
import { errnoNetError } from './net-errors.js';
import type { OpenSockets } from './open-sockets.js';
import { SocketEvent, SocketKind, type Sockets } from './sockets.js';

/** Pause of a socket when no descriptor is free for another link. */
const PAUSE_MS = 100;

export class SocketListener implements Listener {
  readonly address: NetAddress;
  #sockets: Sockets;
  #accept: (link: Link) => void;
  #release: () => void;
  #open: OpenSockets;
  #ids: number[] = [];
  #pauses = new Map<number, NodeJS.Timeout>();
  #closing: Promise<void> | undefined;

  /** Takes over `fds`, and closes them in the end. `release` is called when the listener is closed. Throws where a socket cannot be watched. */
  constructor(
    sockets: Sockets,
    fds: readonly number[],
    address: NetAddress,
    accept: (link: Link) => void,
    release: () => void,
    open: OpenSockets,
  ) {
    this.#sockets = sockets;
    this.address = address;
    this.#accept = accept;
    this.#release = release;
    this.#open = open;
    let watched = 0;
    try {
      for (; watched < fds.length; watched++) this.#watch(fds[watched]);
    } catch (error) {
      // `#watch` has closed the one that failed.
      for (const fd of fds.slice(watched + 1)) sockets.native.closeSocket(fd);
      detach('listener', this.close());
      throw error;
    }
    open.add(this);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#open.delete(this);
    for (const timer of this.#pauses.values()) clearTimeout(timer);
    // The socket's file is removed first, while other processes can see that a server listens at it.
    try {
      this.#release();
    } finally {
      for (const id of this.#ids) this.#sockets.close(id);
    }
  }

  #watch(fd: number): void {
    const id = this.#sockets.attach(fd, SocketKind.listening, {
      onSocket: (event, value) => {
        if (event === SocketEvent.accepted) this.#take(value);
        else if (event === SocketEvent.acceptFailed) this.#pause(id);
      },
    });
    if (id < 0) throw errnoNetError(id, 'Failed to listen', 'listen', addressText(this.address));
    this.#ids.push(id);
    this.#sockets.calls.socketArm(id);
  }

  #take(fd: number): void {
    const { native } = this.#sockets;
    if (this.address.type === 'inet' && this.address.keepAlive === true) native.keepAlive(fd);
    const peer = native.nameOfSocket(fd, true) || peerText(this.address);
    const link = linkOf(this.#sockets, fd, peer, this.#open);
    if (link !== null) this.#accept(link);
  }

  #pause(id: number): void {
    const again = () => {
      this.#pauses.delete(id);
      this.#sockets.calls.socketArm(id);
    };
    this.#pauses.set(id, setTimeout(again, PAUSE_MS));
  }
}

/** A link over a connected socket; null where the host has too many sockets: then this one is closed. */
function linkOf(sockets: Sockets, fd: number, peer: string, open: OpenSockets): Link | null {
  try {
    return SocketLink.over(sockets, fd, peer, open);
  } catch (error) {
    reportUnforeseen('listener', error);
    return null;
  }
}
