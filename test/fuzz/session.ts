// One broken session: a valid one, mutated, and how it is delivered. Everything follows from one seed.

import { Option } from '../../src/wire/nbd/constants.js';
import { seeded } from '../interop/chain-maker.js';
import {
  bytesOf,
  clientFlags,
  type Message,
  option,
  pick,
  type Random,
  request,
  type Subject,
  validSession,
} from './messages.js';

export interface Session {
  bytes: Buffer;
  /** Where the stream is cut into separate sends; ascending. */
  cuts: number[];
  /** Milliseconds between two sends. */
  pauseMs: number;
  /** Replies are read, or left in the socket until the end. */
  reads: boolean;
  /** `end` closes our side and waits for the server's; `destroy` goes at once; `linger` first stays silent for a moment. */
  ending: 'end' | 'destroy' | 'linger';
}

const NUMBERS32 = [
  0, 1, 2, 7, 8, 28, 0xff, 0x1000, 0xffff, 0x10000, 0x2000000, 0x2000001, 0x7fffffff, 0x80000000, 0xffffffff,
];
const NUMBERS64 = [
  0n,
  1n,
  4096n,
  1n << 31n,
  (1n << 32n) - 1n,
  1n << 32n,
  (1n << 53n) - 1n,
  1n << 53n,
  1n << 63n,
  (1n << 64n) - 1n,
];
const MAX_STREAM_BYTES = 4 << 20;

type Mutation = (messages: Message[], random: Random) => void;

function some(messages: Message[], random: Random): Message {
  return pick(random, messages);
}

function flipBits({ bytes }: Message, random: Random): void {
  for (let left = 1 + random(4); left > 0; left--) bytes[random(bytes.length)] ^= 1 << random(8);
}

/** Bytes of a message with all its fields; an earlier mutation may have cut them off. */
const FIELD_BYTES = { flags: 4, option: 16, request: 28 };

/** Puts a telling number where the message has a field. */
function setField({ kind, bytes }: Message, random: Random): void {
  if (bytes.length < FIELD_BYTES[kind]) return;
  if (kind === 'flags') return void bytes.writeUInt32BE(pick(random, NUMBERS32));
  if (kind === 'option') return void bytes.writeUInt32BE(pick(random, NUMBERS32), pick(random, [0, 4, 8, 12, 12, 12]));
  switch (random(5)) {
    case 0:
      return void bytes.writeUInt16BE(random(65536), 4);
    case 1:
      return void bytes.writeUInt16BE(pick(random, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 255, 65535]), 6);
    case 2:
      return void bytes.writeBigUInt64BE(pick(random, NUMBERS64), 16);
    case 3:
      return void bytes.writeUInt32BE(pick(random, NUMBERS32), 24);
    default:
      if (bytes.length >= 32) bytes.writeBigUInt64BE(pick(random, NUMBERS64), 24);
  }
}

const MUTATIONS: Mutation[] = [
  (messages, random) => flipBits(some(messages, random), random),
  (messages, random) => flipBits(some(messages, random), random),
  (messages, random) => setField(some(messages, random), random),
  (messages, random) => setField(some(messages, random), random),
  // Data of an option with numbers in it that say something else than its length.
  (messages, random) => {
    const { kind, bytes } = some(messages, random);
    if (kind === 'option' && bytes.length >= 20)
      bytes.writeUInt32BE(pick(random, NUMBERS32), 16 + random(bytes.length - 19));
  },
  // Shorter than it says.
  (messages, random) => {
    const one = some(messages, random);
    one.bytes = one.bytes.subarray(0, 1 + random(one.bytes.length));
  },
  // Longer than it says.
  (messages, random) => {
    const one = some(messages, random);
    one.bytes = Buffer.concat([one.bytes, bytesOf(random, 1 + random(64))]);
  },
  (messages, random) => void (messages.length > 1 && messages.splice(random(messages.length), 1)),
  // Once more, or many times: the same cookie, the same option.
  (messages, random) => {
    const at = random(messages.length);
    const copies = pick(random, [1, 1, 1, 3, 40]);
    messages.splice(at, 0, ...Array.from({ length: copies }, () => ({ ...messages[at] })));
  },
  (messages, random) => {
    const [a, b] = [random(messages.length), random(messages.length)];
    [messages[a], messages[b]] = [messages[b], messages[a]];
  },
  // A request among the options, an option among the requests.
  (messages, random) => {
    const early = { command: random(9), flags: 0, offset: 0, length: random(5000) };
    messages.splice(random(messages.length + 1), 0, request(7, random(2) === 0, early));
  },
  (messages, random) =>
    void messages.splice(random(messages.length + 1), 0, option(random(14), bytesOf(random, random(80)))),
  // Many small options.
  (messages, random) => {
    const small = option(pick(random, [3, 4, 8, 11, 77]));
    messages.splice(1, 0, ...Array.from({ length: pick(random, [50, 500, 5000]) }, () => small));
  },
  (messages, random) =>
    void messages.splice(random(messages.length + 1), 0, { kind: 'request', bytes: bytesOf(random, 1 + random(300)) }),
];

/** Most mutations are cheap; the few that send thousands of messages are drawn seldom. */
function mutate(messages: Message[], random: Random): void {
  for (let left = 1 + random(4); left > 0; left--) {
    const index = random(MUTATIONS.length);
    if (index === MUTATIONS.length - 2 && random(20) > 0) continue;
    // Messages may share their bytes with the next mutation's source.
    for (const one of messages) one.bytes = Buffer.from(one.bytes);
    MUTATIONS[index](messages, random);
  }
}

/** The session of `seed`. */
export function makeSession(seed: number, subject: Subject): Session {
  const random = seeded(seed);
  const messages = validSession(random, subject);
  // One in sixteen is valid: it must go through, also between the others.
  if (random(16) > 0) {
    // Half of them come as far as transmission unhurt: most of a broken handshake is never looked at.
    const first = random(2) === 0 ? 0 : messages.findIndex(({ kind }) => kind === 'request');
    const broken = messages.splice(Math.max(first, 0));
    mutate(broken, random);
    messages.push(...broken);
  }
  let bytes = Buffer.concat(messages.map((one) => one.bytes)).subarray(0, MAX_STREAM_BYTES);
  if (random(4) === 0) bytes = bytes.subarray(0, random(bytes.length + 1));
  return { bytes, ...delivery(bytes, random) };
}

/**
 * The TLS session of `seed`: STARTTLS and, mutated in the same ways, the first flight of a real client (`hello`). What comes after that is
 * encrypted: nobody without the key gets so far.
 */
export function makeTlsSession(seed: number, hello: Buffer): Session {
  const random = seeded(seed);
  const messages = [clientFlags(3), option(Option.startTls), { kind: 'request' as const, bytes: hello }];
  mutate(messages, random);
  const bytes = Buffer.concat(messages.map((one) => one.bytes)).subarray(0, MAX_STREAM_BYTES);
  return { bytes, ...delivery(bytes, random) };
}

function delivery(bytes: Buffer, random: Random): Omit<Session, 'bytes'> {
  const ending = pick(random, ['end', 'end', 'destroy', 'destroy', 'linger'] as const);
  const reads = random(8) > 0;
  const cuts: number[] = [];
  let pauseMs = 0;
  if (random(3) === 0) for (let left = 1 + random(6); left > 0; left--) cuts.push(random(bytes.length + 1));
  else if (random(60) === 0) {
    // Slowly, byte by byte.
    pauseMs = 1;
    for (let at = 1; at < Math.min(bytes.length, 60); at++) cuts.push(at);
  }
  cuts.sort((a, b) => a - b);
  return { cuts, pauseMs, reads, ending: ending === 'linger' && random(20) > 0 ? 'end' : ending };
}
