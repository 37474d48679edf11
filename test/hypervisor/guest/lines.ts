// A line protocol over a UNIX socket: the guest's machine connects to us, so that nothing has to be polled for.

import { createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

/** Listens at `path`, takes one connection and hands out its lines in order. */
export class LineLink {
  readonly #server: Server;
  readonly #onLine: (line: string) => void;
  #socket: Socket | null = null;
  #unsent: string[] = [];
  /** Resolves when the other side is gone and its last line was handed out. */
  readonly ended: Promise<void>;
  #end!: () => void;

  constructor(path: string, onLine: (line: string) => void) {
    this.#onLine = onLine;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.#server = createServer((socket) => this.#take(socket)).listen(path);
  }

  send(line: string): void {
    if (this.#socket === null) this.#unsent.push(line);
    else this.#socket.write(`${line}\n`);
  }

  /** The other side's process has ended: takes no connection any more; what it had sent is still handed out. */
  close(): void {
    this.#server.close();
    if (this.#socket === null) this.#end();
  }

  #take(socket: Socket): void {
    this.#server.close();
    this.#socket = socket;
    const lines = createInterface({ input: socket }).on('line', this.#onLine).on('close', this.#end);
    for (const source of [socket, lines]) source.on('error', () => undefined);
    for (const line of this.#unsent.splice(0)) this.send(line);
  }
}
