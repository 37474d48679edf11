// A monitor's client at a socket of the host.

import type { LogFile } from '../../host/character.js';
import type { Link } from '../../host/net.js';
import { detach } from '../../util/best-effort.js';
import type { QmpContext } from '../context.js';
import { LinkStream, type LinkStreamOwner } from '../link-stream.js';
import { Session, type SessionLink } from '../session.js';
import type { ClientOptions } from './options.js';

export class SocketClient implements LinkStreamOwner, SessionLink {
  readonly #stream: LinkStream;
  readonly #session: Session;
  readonly #log: LogFile | null;
  readonly #onClosed: () => void;

  /** Greets the client. `onClosed` is called once, when it is gone. Throws `limit` where the host has no memory for it. */
  constructor(context: QmpContext, link: Link, { log, ...options }: ClientOptions, onClosed: () => void) {
    this.#onClosed = onClosed;
    this.#log = log;
    this.#stream = new LinkStream(context.graph.host, link, this);
    this.#session = new Session(context, this, options);
    this.#session.start();
    this.#stream.receive(true);
  }

  // ---- the stream's owner --------------------------------------------------------------------------------------

  received(bytes: Uint8Array): void {
    this.#session.received(bytes);
  }

  descriptor(fd: number): void {
    this.#session.descriptor(fd);
  }

  closed(): void {
    this.#session.close();
    this.#onClosed();
  }

  // ---- the session's link --------------------------------------------------------------------------------------

  write(text: string): void {
    this.#log?.write(Buffer.from(text, 'latin1'));
    this.#stream.write(text);
  }

  get backlogBytes(): number {
    return this.#stream.backlogBytes;
  }

  receive(on: boolean): void {
    this.#stream.receive(on);
  }

  drop(): void {
    detach('monitor', this.close(false));
  }

  /** Ends the connection; `graceful` sends first what was written, within a few seconds. Resolves when the socket is closed. */
  async close(graceful: boolean): Promise<void> {
    this.#session.close();
    await this.#stream.close(graceful);
  }
}
