// Steps of the handshake that both kinds of client share (one that opens an export, one that lists exports): the greeting, TLS, options without
// data, and the errors of refused options. Specification: NBD protocol, "Newstyle negotiation", "Option types".

import type { TlsSettings } from '../../../host/net.js';
import { viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import {
  HandshakeFlag,
  IHAVEOPT_HIGH,
  IHAVEOPT_LOW,
  MAGIC_HIGH,
  MAGIC_LOW,
  OLDSTYLE_HIGH,
  OLDSTYLE_LOW,
  Option,
  OptionReply,
} from '../../../wire/nbd/constants.js';
import type { OptionChannel, OptionReply as Reply } from './option-channel.js';

const OPTION_NAMES: Readonly<Record<number, string>> = {
  [Option.list]: 'list',
  [Option.startTls]: 'starttls',
  [Option.info]: 'info',
  [Option.go]: 'go',
  [Option.structuredReply]: 'structured reply',
  [Option.listMetaContext]: 'list meta context',
  [Option.setMetaContext]: 'set meta context',
  [Option.extendedHeaders]: 'extended headers',
};

export interface Greeting {
  /** Options can be negotiated. */
  fixed: boolean;
  /** The reply to EXPORT_NAME has no 124 zero bytes at its end. */
  noZeroes: boolean;
}

/** Reads the server's greeting and answers it. Rejects with `unsupported` (a server that is too old) and `io`. */
export async function greet(channel: OptionChannel): Promise<Greeting> {
  const head = await channel.takeView(16);
  if (head.getUint32(0) !== MAGIC_HIGH || head.getUint32(4) !== MAGIC_LOW) {
    throw channel.error('io', 'not an NBD server: unexpected greeting');
  }
  if (head.getUint32(8) === OLDSTYLE_HIGH && head.getUint32(12) === OLDSTYLE_LOW) {
    throw channel.error('unsupported', 'the server speaks the old protocol without options, which is not supported');
  }
  if (head.getUint32(8) !== IHAVEOPT_HIGH || head.getUint32(12) !== IHAVEOPT_LOW) {
    throw channel.error('io', 'not an NBD server: unexpected greeting');
  }
  const flags = (await channel.takeView(2)).getUint16(0);
  channel.sendWord(flags & (HandshakeFlag.fixedNewstyle | HandshakeFlag.noZeroes));
  return {
    fixed: (flags & HandshakeFlag.fixedNewstyle) !== 0,
    noZeroes: (flags & HandshakeFlag.noZeroes) !== 0,
  };
}

/** Switches to TLS. Rejects with `permission` or `unsupported` where the server refuses, and as `Link.startTls`. */
export async function startTls(channel: OptionChannel, settings: TlsSettings, timeoutMs: number): Promise<void> {
  channel.sendOption(Option.startTls);
  const reply = await channel.reply(Option.startTls);
  if (reply.type !== OptionReply.ack) throw refusal(channel, Option.startTls, reply);
  if (reply.payload.length > 0) throw channel.error('io', 'the server acknowledges TLS with data');
  await channel.startTls(settings, timeoutMs);
}

/** Sends an option without data; true where the server accepts it. */
export async function offer(channel: OptionChannel, option: number): Promise<boolean> {
  channel.sendOption(option);
  const reply = await channel.reply(option);
  if (reply.type === OptionReply.errTlsRequired) throw refusal(channel, option, reply);
  if (reply.type === OptionReply.ack && reply.payload.length > 0) {
    throw channel.error('io', `the server acknowledges option ${option} with data`);
  }
  return reply.type === OptionReply.ack;
}

/** What a reply to INFO or GO says of the export: `Info` in the first two bytes. Throws `io` for a reply of another kind. */
export function infoOf(channel: OptionChannel, { type, payload }: Reply): DataView {
  if (type === OptionReply.info && payload.length >= 2) return viewOf(payload);
  throw channel.error('io', `the server answers with reply type ${type} to the name of an export`);
}

/** What the server means by a reply that is no acknowledgement, in QEMU's words. */
export function refusal(channel: OptionChannel, option: number, { type, payload }: Reply): BlockError {
  const what = `option ${option} (${OPTION_NAMES[option]})`;
  const text = printable(payload);
  const reported = isError(type) && text !== '' ? `\nserver reported: ${text}` : '';
  const make = (code: BlockError['code'], message: string) =>
    new BlockError(code, `${message}${reported}`, { path: channel.link.peer, operation: 'open' });
  switch (type) {
    case OptionReply.errUnknown:
      return make('not-found', 'Requested export not available');
    case OptionReply.errTlsRequired:
      return make('permission', `TLS negotiation required before ${what}\nDid you forget a valid tls-creds?`);
    case OptionReply.errPolicy:
      return make('permission', `Denied by server for ${what}`);
    case OptionReply.errUnsupported:
      return make('unsupported', `Unsupported by the server: ${what}`);
    case OptionReply.errShutdown:
      return make('io', `The server is shutting down, and refuses ${what}`);
    default:
      return make('io', `The server refuses ${what} with reply type 0x${type.toString(16)}`);
  }
}

export function isError(type: number): boolean {
  return type >= 0x80000000;
}

/** Text from the server, without control characters. */
export function printable(bytes: Uint8Array): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out
  return new TextDecoder().decode(bytes).replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ');
}
