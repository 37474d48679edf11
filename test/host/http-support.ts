// Servers of this process for tests of the HTTP client: what they say is written by the test, byte by byte.

import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { HttpClient, HttpSettings } from '../../src/host/http.js';
import { RealHttp } from '../../src/host/real/http/client.js';
import type { Certificate } from './pki.js';

const VARIABLES = ['http_proxy', 'https_proxy', 'all_proxy', 'no_proxy'];

/** A client that sees these variables, and no others for proxies and certificates. */
export function clientWith(env: NodeJS.ProcessEnv = {}, settings: Partial<HttpSettings> = {}): HttpClient {
  const before = { ...process.env };
  const names = [...VARIABLES, ...VARIABLES.map((name) => name.toUpperCase()), 'SSL_CERT_FILE'];
  for (const name of names) delete process.env[name];
  Object.assign(process.env, env);
  try {
    return new RealHttp().open({ connections: 2, timeoutMs: 5000, verify: true, proxyCredentials: null, ...settings });
  } finally {
    for (const name of names) delete process.env[name];
    Object.assign(process.env, before);
  }
}

export interface Answered {
  status: number;
  body: string;
}

/** One request. */
export async function ask(
  client: HttpClient,
  url: string,
  signal = new AbortController().signal,
  method: 'GET' | 'HEAD' = 'GET',
): Promise<Answered> {
  const answered: Answered = { status: 0, body: '' };
  await client.request(
    { method, url, headers: {}, signal },
    {
      head: (status) => {
        answered.status = status;
      },
      data: (bytes) => {
        answered.body += Buffer.from(bytes).toString('latin1');
      },
    },
  );
  return answered;
}

export const answerOf = (body: string): string => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

/** A port of this host. */
export class TestServer {
  /** What clients have sent. */
  received = '';
  /** Connections that clients have made. */
  connections = 0;
  readonly port: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, serve: (socket: Socket, head: string) => void, isTls: boolean) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    // A connection that breaks off ends: what that means for the client is what a test looks at.
    const ignored = () => undefined;
    server.on('connection', (socket: Socket) => {
      this.connections++;
      this.#sockets.add(socket);
      socket.on('error', ignored).on('close', () => this.#sockets.delete(socket));
    });
    server.on(isTls ? 'secureConnection' : 'connection', (socket: Socket) => {
      socket.on('error', ignored);
      socket.on('data', (bytes) => {
        this.received += bytes.toString('latin1');
        serve(socket, bytes.toString('latin1'));
      });
    });
  }

  /** `serve` gets what a client sends, as it comes. */
  static async start(serve: (socket: Socket, head: string) => void, certificate?: Certificate): Promise<TestServer> {
    const keys = certificate && { cert: Buffer.from(certificate.cert), key: Buffer.from(certificate.key) };
    const server = keys === undefined ? createServer() : createTlsServer(keys);
    await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
    return new TestServer(server, serve, keys !== undefined);
  }

  /** Connections that are open. */
  get open(): number {
    return this.#sockets.size;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
