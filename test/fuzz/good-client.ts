// A client that does nothing wrong, in a process of its own beside the attack: reads and verifies known bytes on one connection that
// stays and, now and then, on a new one, and keeps the longest time that anything took.
//   fork good-client.ts SOCKET EXPORT BYTES      'stop' -> Pauses, and ends

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { seeded } from '../interop/chain-maker.js';
import { clientFlags, option, request } from './messages.js';

export interface Pauses {
  reads: number;
  visits: number;
  longestReadMs: number;
  longestVisitMs: number;
}

const READ_BYTES = 4096;
const READS_PER_VISIT = 20;

/** What the export holds, word by word. */
export function knownWord(index: number): number {
  return (Math.imul(index + 1, 0x9e3779b1) ^ 0x5bd1e995) >>> 0;
}

class Client {
  readonly #socket: Socket;
  #cookie = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('error', () => undefined);
  }

  static async open(path: string, name: string): Promise<Client> {
    const client = new Client(connect(path));
    await client.#take(18);
    client.#socket.write(Buffer.concat([clientFlags(3).bytes, option(1, Buffer.from(name)).bytes]));
    await client.#take(10);
    return client;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    this.#socket.write(request(++this.#cookie, false, { command: 0, flags: 0, offset, length }).bytes);
    const reply = await this.#take(16 + length);
    const fits = reply.readUInt32BE() === 0x67446698 && reply.readUInt32BE(4) === 0;
    if (!fits || Number(reply.readBigUInt64BE(8)) !== this.#cookie) throw new Error('not the reply to the request');
    return reply.subarray(16);
  }

  end(): void {
    this.#socket.end(request(0, false, { command: 2, flags: 0, offset: 0, length: 0 }).bytes);
  }

  async #take(length: number): Promise<Buffer> {
    for (;;) {
      const data = this.#socket.read(length) as Buffer | null;
      if (data !== null && data.length === length) return data;
      if (data !== null || this.#socket.destroyed)
        throw new Error('the server dropped a client that did nothing wrong');
      await Promise.race([once(this.#socket, 'readable'), once(this.#socket, 'close')]);
    }
  }
}

async function main(path: string, name: string, size: number): Promise<void> {
  const random = seeded(1);
  const pauses: Pauses = { reads: 0, visits: 0, longestReadMs: 0, longestVisitMs: 0 };
  let stopped = false;
  process.on('message', () => {
    stopped = true;
  });
  const readOne = async (client: Client) => {
    const offset = random(size / READ_BYTES) * READ_BYTES;
    const data = await client.read(offset, READ_BYTES);
    for (let at = 0; at < READ_BYTES; at += 4) {
      if (data.readUInt32LE(at) !== knownWord((offset + at) / 4)) throw new Error(`wrong bytes at ${offset + at}`);
    }
  };
  const timed = async (action: () => Promise<void>) => {
    const before = performance.now();
    await action();
    return performance.now() - before;
  };
  const steady = await Client.open(path, name);
  process.send?.('ready');
  while (!stopped) {
    for (let i = 0; i < READS_PER_VISIT; i++, pauses.reads++) {
      pauses.longestReadMs = Math.max(pauses.longestReadMs, await timed(() => readOne(steady)));
      // It shares two cores with the attack, which is to be quick too.
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    const visit = async () => {
      const client = await Client.open(path, name);
      await readOne(client);
      client.end();
    };
    pauses.longestVisitMs = Math.max(pauses.longestVisitMs, await timed(visit));
    pauses.visits++;
  }
  steady.end();
  process.send?.(pauses);
  process.disconnect();
}

if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url)) {
  const [path, name, size] = process.argv.slice(2);
  await main(path, name, Number(size));
}
