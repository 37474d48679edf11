// A tiny NBD client for tests: bytes in, bytes out. It sends whatever it is told to, right or wrong, and reads what comes.

import { once } from 'node:events';
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import {
  Chunk,
  ChunkFlag,
  Command,
  CommandFlag,
  EXTENDED_REPLY_MAGIC,
  EXTENDED_REQUEST_MAGIC,
  IHAVEOPT_HIGH,
  IHAVEOPT_LOW,
  Option,
  OptionReply,
  REQUEST_MAGIC,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
} from '../../src/wire/nbd/constants.js';
import { u16, u32 } from './wire-fields.js';

export type RawDialect = 'simple' | 'structured' | 'extended';

export interface RawOptionReply {
  option: number;
  type: number;
  data: Buffer;
}

/** One reply message. */
export interface RawReply {
  cookie: bigint;
  error: number;
  /** Of a chunk; -1 for a simple reply. */
  type: number;
  done: boolean;
  data: Buffer;
}

export interface RawRequest {
  command: number;
  flags?: number;
  offset?: number | bigint;
  length?: number | bigint;
  cookie?: bigint;
  payload?: Uint8Array;
}

export class RawClient {
  dialect: RawDialect = 'simple';
  readonly socket: Socket;
  /** Transmission flags, and size, once an export was chosen. */
  flags = 0;
  size = 0;
  #chunks: Buffer[] = [];
  #buffered = 0;
  #ended = false;
  #wake: (() => void) | null = null;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk) => {
      this.#chunks.push(chunk);
      this.#buffered += chunk.length;
      this.#wake?.();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#ended = true;
      this.#wake?.();
    });
  }

  static async connect(where: string | NetConnectOpts): Promise<RawClient> {
    const socket = connect(typeof where === 'string' ? { path: where } : where);
    await once(socket, 'connect');
    return new RawClient(socket);
  }

  /** Over another stream: one with TLS. */
  static over(socket: Socket): RawClient {
    return new RawClient(socket);
  }

  close(): void {
    this.socket.destroy();
  }

  send(...parts: Uint8Array[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** The next `count` bytes. Rejects where the connection ends before. */
  async read(count: number): Promise<Buffer> {
    while (this.#buffered < count) {
      if (this.#ended) throw new Error(`the connection has ended, ${count - this.#buffered} bytes too early`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const [first] = this.#chunks;
    const all = first !== undefined && first.length >= count ? first : Buffer.concat(this.#chunks.splice(0));
    if (all === first) this.#chunks.shift();
    if (count < all.length) this.#chunks.unshift(all.subarray(count));
    this.#buffered -= count;
    return all.subarray(0, count);
  }

  /** Waits for the end of the connection; resolves with what came before that was not read. */
  async rest(): Promise<Buffer> {
    while (!this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.read(this.#buffered);
  }

  // ---- handshake ---------------------------------------------------------------------------------------------

  /** Reads the greeting and answers it; returns the server's handshake flags. */
  async greet(flags = 3): Promise<number> {
    const greeting = await this.read(18);
    this.send(u32(flags));
    return greeting.readUInt16BE(16);
  }

  option(option: number, data: Uint8Array = Buffer.alloc(0), length = data.length): void {
    this.send(u32(IHAVEOPT_HIGH), u32(IHAVEOPT_LOW), u32(option), u32(length), data);
  }

  async optionReply(): Promise<RawOptionReply> {
    const header = await this.read(20);
    const data = await this.read(header.readUInt32BE(16));
    return { option: header.readUInt32BE(8), type: header.readUInt32BE(12), data };
  }

  /** Sends an option and reads up to the last of its replies. */
  async ask(option: number, data?: Uint8Array): Promise<RawOptionReply[]> {
    this.option(option, data);
    const replies: RawOptionReply[] = [];
    for (;;) {
      const reply = await this.optionReply();
      replies.push(reply);
      if (reply.type === OptionReply.ack || reply.type >= 0x80000000) return replies;
    }
  }

  /** Greets, agrees on a dialect and contexts, and goes. Returns the contexts' identifiers by name. */
  async go(
    dialect: RawDialect = 'simple',
    { name = '', contexts = [] }: { name?: string; contexts?: string[] } = {},
  ): Promise<Map<string, number>> {
    await this.greet();
    const ids = new Map<string, number>();
    if (dialect !== 'simple') {
      await this.ask(dialect === 'structured' ? Option.structuredReply : Option.extendedHeaders);
    }
    if (contexts.length > 0) {
      for (const { type, data } of await this.ask(Option.setMetaContext, metaRequest(name, contexts))) {
        if (type === OptionReply.metaContext) ids.set(data.subarray(4).toString(), data.readUInt32BE(0));
      }
    }
    const replies = await this.ask(Option.go, infoRequest(name));
    const last = replies[replies.length - 1];
    if (last.type !== OptionReply.ack) throw new Error(`GO: ${last.type.toString(16)} ${last.data}`);
    for (const { data } of replies) {
      if (data.length !== 12 || data.readUInt16BE(0) !== 0) continue;
      this.size = Number(data.readBigUInt64BE(2));
      this.flags = data.readUInt16BE(10);
    }
    this.dialect = dialect;
    return ids;
  }

  // ---- transmission ------------------------------------------------------------------------------------------

  request({ command, flags = 0, offset = 0, length, cookie = 1n, payload }: RawRequest): void {
    this.send(this.header({ command, flags, offset, length: length ?? payload?.length ?? 0, cookie, payload }));
    if (payload !== undefined) this.send(payload);
  }

  /** The header alone. */
  header({ command, flags = 0, offset = 0, length = 0, cookie = 1n, payload }: RawRequest): Buffer {
    const extended = this.dialect === 'extended';
    const bytes = Buffer.alloc(extended ? 32 : 28);
    bytes.writeUInt32BE(extended ? EXTENDED_REQUEST_MAGIC : REQUEST_MAGIC, 0);
    bytes.writeUInt16BE(flags | (extended && payload !== undefined ? CommandFlag.payloadLength : 0), 4);
    bytes.writeUInt16BE(command, 6);
    bytes.writeBigUInt64BE(cookie, 8);
    bytes.writeBigUInt64BE(BigInt(offset), 16);
    if (extended) bytes.writeBigUInt64BE(BigInt(length), 24);
    else bytes.writeUInt32BE(Number(length), 24);
    return bytes;
  }

  /** One message; `length` is that of a simple reply's data. */
  async reply(length = 0): Promise<RawReply> {
    const start = await this.read(16);
    const magic = start.readUInt32BE(0);
    const cookie = start.readBigUInt64BE(8);
    if (magic === SIMPLE_REPLY_MAGIC) {
      const error = start.readUInt32BE(4);
      return { cookie, error, type: -1, done: true, data: await this.read(error === 0 ? length : 0) };
    }
    let bytes: number;
    if (magic === STRUCTURED_REPLY_MAGIC) bytes = (await this.read(4)).readUInt32BE(0);
    else if (magic === EXTENDED_REPLY_MAGIC) bytes = Number((await this.read(16)).readBigUInt64BE(8));
    else throw new Error(`no reply: ${start.toString('hex')}`);
    const type = start.readUInt16BE(6);
    const data = await this.read(bytes);
    const error = (type & 0x8000) !== 0 ? data.readUInt32BE(0) : 0;
    return { cookie, error, type, done: (start.readUInt16BE(4) & ChunkFlag.done) !== 0, data };
  }

  /** All messages of one reply. */
  async replies(length = 0): Promise<RawReply[]> {
    const all: RawReply[] = [];
    do all.push(await this.reply(length));
    while (!all[all.length - 1].done);
    return all;
  }

  /** Sends a request that has no data in its reply; returns the error. */
  async command(request: RawRequest): Promise<number> {
    this.request(request);
    const replies = await this.replies();
    return replies[replies.length - 1].error;
  }

  /** Reads, whatever the dialect. Rejects with the error's number as message. */
  async readData(offset: number, length: number, flags = 0): Promise<Buffer> {
    this.request({ command: Command.read, offset, length, flags });
    const found = Buffer.alloc(length, 0xee);
    for (const { error, type, data } of await this.replies(length)) {
      if (error !== 0) throw new Error(`${error}`);
      if (type === -1) data.copy(found);
      else if (type === Chunk.offsetData) data.copy(found, Number(data.readBigUInt64BE(0)) - offset, 8);
      else if (type === Chunk.offsetHole) {
        const start = Number(data.readBigUInt64BE(0)) - offset;
        found.fill(0, start, start + data.readUInt32BE(8));
      }
    }
    return found;
  }
}

/** Data of INFO and GO. */
export function infoRequest(name = '', infos: readonly number[] = []): Buffer {
  const text = Buffer.from(name);
  return Buffer.concat([u32(text.length), text, u16(infos.length), ...infos.map(u16)]);
}

/** Data of LIST_META_CONTEXT and SET_META_CONTEXT. */
export function metaRequest(name: string, queries: readonly string[]): Buffer {
  const text = Buffer.from(name);
  const parts = [u32(text.length), text, u32(queries.length)];
  for (const query of queries.map((one) => Buffer.from(one))) parts.push(u32(query.length), query);
  return Buffer.concat(parts);
}
