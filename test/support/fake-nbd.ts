// An NBD server for tests that does what it is told to, right or wrong. A script gets each connection.

import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import {
  Chunk,
  ChunkFlag,
  EXTENDED_REPLY_MAGIC,
  EXTENDED_REQUEST_MAGIC,
  Info,
  Option,
  OptionReply,
  REQUEST_MAGIC,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
  TransmissionFlag,
} from '../../src/wire/nbd/constants.js';
import { u16, u32, u64 } from './wire-fields.js';

export interface FakeRequest {
  flags: number;
  command: number;
  cookie: Buffer;
  offset: number;
  length: number;
  payload: Buffer;
}

export interface FakeExport {
  size: number;
  flags?: number;
  structured?: boolean;
  extended?: boolean;
  /** Offer base:allocation under this id. */
  contextId?: number;
  blocks?: { min: number; preferred: number; max: number };
}

/** Everything but read-only. */
export const ALL_FLAGS =
  TransmissionFlag.hasFlags |
  TransmissionFlag.sendFlush |
  TransmissionFlag.sendFua |
  TransmissionFlag.sendTrim |
  TransmissionFlag.sendWriteZeroes |
  TransmissionFlag.sendFastZero |
  TransmissionFlag.canMultiConn;

/** The connection ended while something was expected of it. */
export class Gone extends Error {}

export class FakePeer {
  readonly socket: Socket;
  extended = false;
  #chunks: Buffer[] = [];
  #ended = false;
  #wake: () => void = () => {};

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#wake();
    });
    for (const event of ['end', 'close', 'error']) {
      socket.on(event, () => {
        this.#ended = true;
        this.#wake();
      });
    }
  }

  async read(count: number): Promise<Buffer> {
    for (;;) {
      const all = Buffer.concat(this.#chunks);
      if (all.length >= count) {
        this.#chunks = [all.subarray(count)];
        return all.subarray(0, count);
      }
      if (this.#ended) throw new Gone();
      this.#chunks = [all];
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  write(...parts: (Uint8Array | number)[]): void {
    this.socket.write(Buffer.concat(parts.map((part) => (typeof part === 'number' ? u32(part) : part))));
  }

  /** Resolves when the client has hung up. */
  async gone(): Promise<void> {
    while (!this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async greet(flags = 3): Promise<void> {
    this.write(Buffer.from('NBDMAGICIHAVEOPT'), u16(flags));
    await this.read(4);
  }

  async option(): Promise<{ option: number; data: Buffer }> {
    const head = await this.read(16);
    return { option: head.readUInt32BE(8), data: await this.read(head.readUInt32BE(12)) };
  }

  reply(option: number, type: number, data = Buffer.alloc(0)): void {
    this.write(Buffer.from('0003e889045565a9', 'hex'), option, type, data.length, data);
  }

  /** The whole handshake, as an honest server does it. */
  async negotiate(offer: FakeExport): Promise<void> {
    await this.greet();
    for (;;) {
      const { option } = await this.option();
      if (option === Option.extendedHeaders && offer.extended) {
        this.extended = true;
        this.reply(option, OptionReply.ack);
      } else if (option === Option.structuredReply && offer.structured) this.reply(option, OptionReply.ack);
      else if (option === Option.setMetaContext && offer.contextId !== undefined) {
        this.reply(
          option,
          OptionReply.metaContext,
          Buffer.concat([u32(offer.contextId), Buffer.from('base:allocation')]),
        );
        this.reply(option, OptionReply.ack);
      } else if (option === Option.go) {
        const { blocks } = offer;
        if (blocks !== undefined) {
          const sizes = [u32(blocks.min), u32(blocks.preferred), u32(blocks.max)];
          this.reply(option, OptionReply.info, Buffer.concat([u16(Info.blockSize), ...sizes]));
        }
        const flags = offer.flags ?? ALL_FLAGS;
        this.reply(option, OptionReply.info, Buffer.concat([u16(Info.export), u64(offer.size), u16(flags)]));
        this.reply(option, OptionReply.ack);
        return;
      } else this.reply(option, OptionReply.errUnsupported);
    }
  }

  async request(): Promise<FakeRequest> {
    const head = await this.read(this.extended ? 32 : 28);
    const magic = head.readUInt32BE(0);
    if (magic !== (this.extended ? EXTENDED_REQUEST_MAGIC : REQUEST_MAGIC))
      throw new Error(`magic 0x${magic.toString(16)}`);
    const length = this.extended ? Number(head.readBigUInt64BE(24)) : head.readUInt32BE(24);
    const command = head.readUInt16BE(6);
    return {
      flags: head.readUInt16BE(4),
      command,
      cookie: head.subarray(8, 16),
      offset: Number(head.readBigUInt64BE(16)),
      length,
      payload: command === 1 ? await this.read(length) : Buffer.alloc(0),
    };
  }

  simple(request: FakeRequest, error = 0, data: Uint8Array = Buffer.alloc(0)): void {
    this.write(SIMPLE_REPLY_MAGIC, error, request.cookie, data);
  }

  chunk(request: FakeRequest, type: number, data: Uint8Array = Buffer.alloc(0), flags: number = ChunkFlag.done): void {
    if (this.extended) {
      const { cookie, offset } = request;
      this.write(EXTENDED_REPLY_MAGIC, u16(flags), u16(type), cookie, u64(offset), u64(data.length), data);
    } else this.write(STRUCTURED_REPLY_MAGIC, u16(flags), u16(type), request.cookie, data.length, data);
  }

  data(request: FakeRequest, offset: number, data: Uint8Array, flags: number = ChunkFlag.done): void {
    this.chunk(request, Chunk.offsetData, Buffer.concat([u64(offset), data]), flags);
  }
}

/** An honest server for `content`, until the client disconnects. */
export async function serveMemory(peer: FakePeer, offer: FakeExport, content: Buffer): Promise<void> {
  await peer.negotiate(offer);
  for (;;) {
    const request = await peer.request();
    const { command, offset, length, payload } = request;
    if (command === 2) return;
    if (command === 1) payload.copy(content, offset);
    if (command === 6) content.fill(0, offset, offset + length);
    if (command === 0) {
      if (offer.structured || offer.extended) peer.data(request, offset, content.subarray(offset, offset + length));
      else peer.simple(request, 0, content.subarray(offset, offset + length));
    } else peer.simple(request);
  }
}

export class FakeNbd {
  readonly path: string;
  /** Connections so far. */
  connections = 0;
  /** What a script failed with, other than by the client's hanging up. */
  readonly failures: unknown[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(path: string, script: (peer: FakePeer, index: number) => Promise<void>) {
    this.path = path;
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => undefined);
      script(new FakePeer(socket), this.connections++).then(
        () => socket.end(),
        (error: unknown) => {
          if (!(error instanceof Gone)) this.failures.push(error);
          socket.destroy();
        },
      );
    });
  }

  static async listen(path: string, script: (peer: FakePeer, index: number) => Promise<void>): Promise<FakeNbd> {
    const fake = new FakeNbd(path, script);
    fake.#server.listen(path);
    await once(fake.#server, 'listening');
    return fake;
  }

  /** Takes bytes again from those whose sockets were paused. */
  resume(): void {
    for (const socket of this.#sockets) socket.resume();
  }

  /** Hangs up on everybody. */
  drop(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Nobody listens afterwards, and the socket is gone. */
  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.drop();
    await closed;
  }
}
