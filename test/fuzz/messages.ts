// What an NBD client sends, as bytes, and valid sessions made of it: client flags, some options, GO, requests.

import { Command, EXTENDED_REQUEST_MAGIC, Option, REQUEST_MAGIC } from '../../src/wire/nbd/constants.js';

export type Random = (below: number) => number;

export interface Message {
  kind: 'flags' | 'option' | 'request';
  bytes: Buffer;
}

/** What the fuzzer is told of the server that it attacks. */
export interface Subject {
  /** Exports by name; nothing is written to those that are not writable, whatever is tried. */
  exports: { name: string; size: number; writable: boolean }[];
}

const IHAVEOPT = Buffer.from('IHAVEOPT', 'latin1');
const CONTEXTS = [
  'base:allocation',
  'base:allocation',
  'base:',
  'qemu:',
  'qemu:allocation-depth',
  'qemu:dirty-bitmap:',
  'x-none:y',
  '',
];
const OPTION_HEADER_BYTES = 16;

export function pick<T>(random: Random, from: readonly T[]): T {
  return from[random(from.length)];
}

export function bytesOf(random: Random, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let at = 0; at < length; at++) bytes[at] = random(256);
  return bytes;
}

export function clientFlags(flags: number): Message {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(flags);
  return { kind: 'flags', bytes };
}

export function option(code: number, data: Buffer = Buffer.alloc(0)): Message {
  const bytes = Buffer.alloc(OPTION_HEADER_BYTES + data.length);
  IHAVEOPT.copy(bytes);
  bytes.writeUInt32BE(code, 8);
  bytes.writeUInt32BE(data.length, 12);
  data.copy(bytes, OPTION_HEADER_BYTES);
  return { kind: 'option', bytes };
}

function text(value: string): Buffer {
  const bytes = Buffer.alloc(4 + Buffer.byteLength(value));
  bytes.writeUInt32BE(bytes.length - 4);
  bytes.write(value, 4);
  return bytes;
}

/** INFO and GO: a name, and the kinds of information that are asked for. */
export function infoRequest(code: number, name: string, kinds: readonly number[]): Message {
  const list = Buffer.alloc(2 + 2 * kinds.length);
  list.writeUInt16BE(kinds.length);
  kinds.forEach((kind, i) => void list.writeUInt16BE(kind, 2 + 2 * i));
  return option(code, Buffer.concat([text(name), list]));
}

export function metaRequest(code: number, name: string, queries: readonly string[]): Message {
  const count = Buffer.alloc(4);
  count.writeUInt32BE(queries.length);
  return option(code, Buffer.concat([text(name), count, ...queries.map(text)]));
}

export interface Request {
  command: number;
  flags: number;
  offset: number;
  length: number;
  data?: Buffer;
}

export function request(cookie: number, extended: boolean, one: Request): Message {
  const head = Buffer.alloc(extended ? 32 : 28);
  head.writeUInt32BE(extended ? EXTENDED_REQUEST_MAGIC : REQUEST_MAGIC);
  head.writeUInt16BE(one.flags, 4);
  head.writeUInt16BE(one.command, 6);
  head.writeBigUInt64BE(BigInt(cookie), 8);
  head.writeBigUInt64BE(BigInt(one.offset), 16);
  if (extended) head.writeBigUInt64BE(BigInt(one.length), 24);
  else head.writeUInt32BE(one.length, 24);
  return { kind: 'request', bytes: one.data === undefined ? head : Buffer.concat([head, one.data]) };
}

const COMMANDS = [
  ...[Command.read, Command.read, Command.read, Command.write, Command.write, Command.flush, Command.trim],
  ...[Command.cache, Command.writeZeroes, Command.blockStatus, Command.blockStatus, Command.resize],
];

function randomRequest(random: Random, cookie: number, extended: boolean, size: number): Message {
  const command = pick(random, COMMANDS);
  const length = pick(random, [1, 512, 4096, 65536, 1 + random(20_000)]);
  const offset = random(Math.max(1, size - length));
  const payload = command === Command.write ? 1 << 5 : 0;
  switch (command) {
    case Command.write: {
      const data = Buffer.alloc(length, 1 + random(255));
      const flags = random(2) | (extended ? payload : 0);
      return request(cookie, extended, { command, flags, offset, length, data });
    }
    case Command.flush:
      return request(cookie, extended, { command, flags: 0, offset: 0, length: 0 });
    case Command.resize:
      return request(cookie, extended, { command, flags: 0, offset: size, length: 0 });
    default: {
      const flags = command === Command.writeZeroes ? pick(random, [0, 1, 2, 16, 18]) : pick(random, [0, 0, 4, 8]);
      return request(cookie, extended, { command, flags, offset, length });
    }
  }
}

/** Options of a handshake that ends in one of the three dialects; contexts are for those that have block status. */
function negotiation(random: Random, name: string): { messages: Message[]; extended: boolean } {
  const dialect = pick(random, ['simple', 'structured', 'structured', 'extended', 'extended'] as const);
  const messages: Message[] = [];
  for (let left = random(4); left > 0; left--) {
    const kinds = [0, 1, 2, 3].slice(0, random(5));
    const odd = option(pick(random, [Option.startTls, 4, 99]), bytesOf(random, random(4)));
    messages.push(pick(random, [option(Option.list), infoRequest(Option.info, name, kinds), odd]));
  }
  if (dialect === 'structured') messages.push(option(Option.structuredReply));
  if (dialect === 'extended') messages.push(option(Option.extendedHeaders));
  if (dialect !== 'simple') {
    for (const code of [Option.listMetaContext, Option.setMetaContext]) {
      if (random(3) > 0) messages.push(metaRequest(code, name, [pick(random, CONTEXTS), pick(random, CONTEXTS)]));
    }
  }
  return { messages, extended: dialect === 'extended' };
}

/** A session that a server has nothing to object to (where it knows what is asked for). */
export function validSession(random: Random, subject: Subject): Message[] {
  const { name, size } = pick(random, subject.exports);
  const { messages: options, extended } = negotiation(random, name);
  const messages = [clientFlags(pick(random, [3, 3, 3, 1])), ...options];
  const end = random(16);
  if (end === 0) return [...messages, option(Option.abort)];
  if (end === 1) messages.push(option(Option.exportName, Buffer.from(name)));
  else messages.push(infoRequest(Option.go, name, [3]));
  for (let count = random(20), cookie = 1; cookie <= count; cookie++) {
    messages.push(randomRequest(random, cookie, extended, size));
  }
  const disconnect = { command: Command.disconnect, flags: 0, offset: 0, length: 0 };
  if (random(3) > 0) messages.push(request(0xffff, extended, disconnect));
  return messages;
}
