// Lists the exports of a server: a client that asks for information about each export and opens none.
//
//   greeting -> [STARTTLS] -> EXTENDED_HEADERS or STRUCTURED_REPLY -> LIST -> for each export: INFO, LIST_META_CONTEXT -> ABORT

import type { Host } from '../../../host/host.js';
import type { Link, TlsSettings } from '../../../host/net.js';
import { bestEffort } from '../../../util/best-effort.js';
import { viewOf } from '../../../util/bytes.js';
import { Info, MAX_STRING_BYTES, Option, OptionReply } from '../../../wire/nbd/constants.js';
import { greet, infoOf, isError, offer, printable, refusal, startTls } from './handshake-steps.js';
import { OptionChannel } from './option-channel.js';

/** One export of the list. Texts have no control characters. */
export interface ListedExport {
  name: string;
  /** Empty where the server sends none. */
  description: string;
  /** Null where the server sends nothing but the name. */
  details: ExportDetails | null;
  /** Names of metadata contexts; null where the server does not support them. */
  contexts: readonly string[] | null;
}

export interface ExportDetails {
  /** Bytes, as a bigint: it is only printed, so it is not limited to 2^53 - 1. */
  size: bigint;
  /** `TransmissionFlag`. */
  flags: number;
  /** Bytes; null where the server does not send them. */
  blockSizes: { minimum: number; preferred: number; maximum: number } | null;
}

export interface ServerList {
  /** The server supports extended headers: requests of 64-bit length. */
  extended: boolean;
  exports: readonly ListedExport[];
}

const MAX_EXPORTS = 100_000;
/** Limit of all names and descriptions together. */
const MAX_LIST_BYTES = 64 * 1024 * 1024;
/** Replies to one option about one export. */
const MAX_REPLIES = 1024;

export interface ListOptions {
  tls: TlsSettings | null;
  /** Time limit for the whole list; 0: none. */
  timeoutMs: number;
}

/**
 * Lists the exports of the server at the other side of `link`, and closes the link. Rejects with `permission` (refused by the server), `unsupported`
 * (a server that does not list exports, or is too old), `cancelled` (time limit), `limit` and `io`.
 */
export async function listExports(host: Host, link: Link, { tls, timeoutMs }: ListOptions): Promise<ServerList> {
  const channel = new OptionChannel(host, link, timeoutMs);
  try {
    const { fixed } = await greet(channel);
    if (!fixed) throw channel.error('unsupported', 'Server does not support export lists');
    if (tls !== null) await startTls(channel, tls, timeoutMs);
    const extended = await offer(channel, Option.extendedHeaders);
    const structured = extended || (await offer(channel, Option.structuredReply));
    const exports: ListedExport[] = [];
    for (const { name, description } of await listNames(channel)) {
      const info = await requestInfo(channel, name);
      exports.push({
        name: printable(name),
        description: printable(info?.description ?? description),
        details: info?.details ?? null,
        contexts: structured && info !== null ? await listContexts(channel, name) : null,
      });
    }
    await abortHandshake(channel);
    return { extended, exports };
  } finally {
    await channel.end(true);
  }
}

interface Listed {
  name: Uint8Array;
  description: Uint8Array;
}

async function listNames(channel: OptionChannel): Promise<Listed[]> {
  const names: Listed[] = [];
  let bytes = 0;
  channel.sendOption(Option.list);
  for (;;) {
    const reply = await channel.reply(Option.list);
    const { type, payload } = reply;
    if (type === OptionReply.ack) return names;
    if (type === OptionReply.errUnsupported) {
      throw channel.error('unsupported', 'Server does not support export lists');
    }
    if (type !== OptionReply.server) throw refusal(channel, Option.list, reply);
    bytes += payload.length;
    if (names.length === MAX_EXPORTS || bytes > MAX_LIST_BYTES) {
      throw channel.error(
        'limit',
        `the server lists more than ${MAX_EXPORTS} exports, or ${MAX_LIST_BYTES} bytes of them`,
      );
    }
    const end = payload.length < 4 ? 0 : 4 + viewOf(payload).getUint32(0);
    if (end < 4 || end > payload.length || end > 4 + MAX_STRING_BYTES) {
      throw channel.error('io', 'the server sends a malformed entry of its list');
    }
    names.push({ name: payload.slice(4, end), description: payload.slice(end) });
  }
}

/** Requests information with INFO; null where the server refuses (or does not have the export any more). */
async function requestInfo(
  channel: OptionChannel,
  name: Uint8Array,
): Promise<{ details: ExportDetails | null; description: Uint8Array | null } | null> {
  const requests = Uint8Array.of(0, 2, 0, Info.blockSize, 0, Info.description);
  channel.sendOption(Option.info, [name.length, name, requests]);
  let size: bigint | null = null;
  let flags = 0;
  let blockSizes: ExportDetails['blockSizes'] = null;
  let description: Uint8Array | null = null;
  const next = channel.replies(Option.info, MAX_REPLIES);
  for (;;) {
    const reply = await next();
    const { type, payload } = reply;
    if (type === OptionReply.ack) return { details: size === null ? null : { size, flags, blockSizes }, description };
    if (isError(type)) return null;
    const view = infoOf(channel, reply);
    const kind = view.getUint16(0);
    if (kind === Info.export && payload.length === 12) {
      size = view.getBigUint64(2);
      flags = view.getUint16(10);
    } else if (kind === Info.blockSize && payload.length === 14) {
      blockSizes = { minimum: view.getUint32(2), preferred: view.getUint32(6), maximum: view.getUint32(10) };
    } else if (kind === Info.description) {
      description = payload.slice(2);
    } else if (kind === Info.export || kind === Info.blockSize) {
      throw channel.error('io', 'the server sends a malformed description of an export');
    }
  }
}

/** The metadata contexts in the server's order; null where the server refuses. */
async function listContexts(channel: OptionChannel, name: Uint8Array): Promise<string[] | null> {
  channel.sendOption(Option.listMetaContext, [name.length, name, 0]);
  const contexts: string[] = [];
  const next = channel.replies(Option.listMetaContext, MAX_REPLIES);
  for (;;) {
    const { type, payload } = await next();
    if (type === OptionReply.ack) return contexts;
    if (isError(type)) return null;
    if (type !== OptionReply.metaContext || payload.length < 4) {
      throw channel.error('io', `the server answers with reply type ${type} to a list of metadata contexts`);
    }
    contexts.push(printable(payload.subarray(4)));
  }
}

/** Ends the session with ABORT. A server may close the connection instead of replying: the list is complete either way. */
async function abortHandshake(channel: OptionChannel): Promise<void> {
  channel.sendOption(Option.abort);
  await channel.reply(Option.abort).catch(bestEffort('nbd list'));
}
