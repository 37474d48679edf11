// A proxy for HTTP that wants a name and a password, and keeps what it was asked for.

import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import { connect, type Socket } from 'node:net';

export class TestProxy {
  /** The methods of all requests that it let through. */
  readonly seen: string[] = [];
  readonly url: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.url = `http://127.0.0.1:${port}`;
  }

  static async start(credentials: string): Promise<TestProxy> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const proxy = new TestProxy(server, (server.address() as { port: number }).port);
    proxy.#serve(`Basic ${Buffer.from(credentials).toString('base64')}`);
    return proxy;
  }

  #serve(wanted: string): void {
    const admits = ({ method, headers }: IncomingMessage): boolean => {
      if (headers['proxy-authorization'] !== wanted) return false;
      this.seen.push(method!);
      return true;
    };
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
    this.#server.on('request', (asked, answer) => {
      if (!admits(asked)) {
        answer.writeHead(407).end();
        return;
      }
      const onward = request(asked.url!, { method: asked.method, headers: asked.headers }, (got) => {
        answer.writeHead(got.statusCode!, got.headers);
        got.pipe(answer);
      });
      onward.on('error', () => answer.destroy());
      asked.pipe(onward);
    });
    this.#server.on('connect', (asked: IncomingMessage, socket: Socket) => {
      socket.on('error', () => socket.destroy());
      if (!admits(asked)) {
        socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
        return;
      }
      const [host, port] = asked.url!.split(':');
      const onward = connect(Number(port), host, () => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
        onward.pipe(socket).pipe(onward);
      });
      this.#sockets.add(onward);
      onward.on('error', () => socket.destroy());
    });
  }

  stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
    });
  }
}
