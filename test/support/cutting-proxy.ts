// A way to a server that is cut now and then: by a seed.

import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Random } from '../../src/host/sim/index.js';

export interface Cuts {
  /** Bytes, those of both ways together, after which a connection is cut: between these. */
  least: number;
  most: number;
  /** So many connections are cut; later ones are not. */
  times: number;
}

export class CuttingProxy {
  /** Connections that were cut. */
  cut = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(target: number, random: Random, { least, most, times }: Cuts): Promise<CuttingProxy> {
    const server = createServer();
    const proxy = new CuttingProxy(server);
    server.on('connection', (client) => {
      const upstream = connect(target, '127.0.0.1');
      let left = random.between(least, most);
      const pass = (from: Socket, to: Socket): void => {
        proxy.#sockets.add(from);
        const end = (): void => {
          proxy.#sockets.delete(from);
          to.destroy();
        };
        from.on('error', end).on('close', end);
        from.on('data', (bytes) => {
          left -= bytes.length;
          if (left > 0 || proxy.cut >= times) {
            if (!to.write(bytes)) from.pause();
          } else if (!from.destroyed) {
            proxy.cut++;
            // In the middle of what was sent, at times.
            to.write(bytes.subarray(0, random.below(bytes.length)));
            from.destroy();
            to.destroySoon();
          }
        });
        to.on('drain', () => from.resume());
      };
      pass(client, upstream);
      pass(upstream, client);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
