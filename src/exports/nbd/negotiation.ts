// What a server answers to the options of one client, and what is agreed on by them: the part of the handshake that knows what options
// mean (`Handshake` knows how their bytes come, and when the next one is taken).
//
//   option             answered with                                  what is agreed on
//   STRUCTURED_REPLY   ACK                                            dialect: structured
//   EXTENDED_HEADERS   ACK                                            dialect: extended, which includes structured
//   SET_META_CONTEXT   META_CONTEXT for each, ACK                     contexts of one export
//   LIST, INFO, ...    SERVER or INFO for each, ACK                   nothing
//   STARTTLS           ACK, then TLS                                  another link, and another negotiation
//   GO                 INFO ..., ACK                                  the export: transmission begins
//   EXPORT_NAME        size and flags; or the link is closed          the same, of the old kind
//   ABORT              ACK, then the link is closed
//
// There is one negotiation a link: TLS begins a new one, in which nothing holds that was agreed on in plain text.

import type { TlsSettings } from '../../host/net.js';
import { putBe16, putBe32, putBe64 } from '../../util/bytes.js';
import { Info, OPTION_REPLY_HIGH, OPTION_REPLY_LOW, Option, OptionReply } from '../../wire/nbd/constants.js';
import type { Dialect } from '../../wire/nbd/headers.js';
import { CONTEXT_FAMILIES, type MetaContext } from './contexts.js';
import { BLOCK_SIZES, type NbdExport } from './export.js';
import { type MetaRequest, parseInfoRequest, parseMetaRequest, parseText } from './options.js';
import type { Outbox } from './outbox.js';

/** A client that has chosen an export and may have to wait to be admitted. */
export interface PendingClient {
  /** There is room for it now. */
  admitted(): void;
  /** Too many wait: it has to end. */
  close(): void;
}

/** What the handshake asks of the server. */
export interface ServerAccess {
  readonly exports: ReadonlyMap<string, NbdExport>;
  /** One connection at a time. */
  readonly single: boolean;
  /** Set: nothing but STARTTLS is answered before TLS is up. */
  readonly tls: TlsSettings | null;
  /** A client is about to get an export: true where there is room for it. Otherwise `admitted` is called when there is. */
  admit(client: PendingClient): boolean;
  /** An admitted client did not get an export. */
  dismiss(client: PendingClient): void;
  /** Whether the client with this name (null: it has none) is allowed. */
  authorise(name: string | null): boolean | Promise<boolean>;
}

/** What is to be done once the client has taken the replies to its option: go on, or with the export to transmission. */
export type Next = 'option' | 'tls' | 'close' | NbdExport;

const RESERVED_BYTES = 124;
const UTF8 = new TextEncoder();
const NOTHING = new Uint8Array(0);

export class Negotiation {
  dialect: Dialect = 'simple';
  /** Client flags: the fixed newstyle, and no zeroes behind the answer to EXPORT_NAME. */
  fixed = false;
  noZeroes = false;
  readonly #access: ServerAccess;
  readonly #outbox: Outbox;
  readonly #tlsUp: boolean;
  readonly #contexts = new Map<number, MetaContext>();
  #contextsOf: NbdExport | null = null;
  #option = 0;

  constructor(access: ServerAccess, outbox: Outbox, tlsUp: boolean) {
    this.#access = access;
    this.#outbox = outbox;
    this.#tlsUp = tlsUp;
  }

  /** The contexts that were chosen for `served`, by their identifiers. */
  contextsFor(served: NbdExport): ReadonlyMap<number, MetaContext> {
    return this.#contextsOf === served ? this.#contexts : new Map();
  }

  /** Writes the replies to an option to the outbox. */
  answer(option: number, data: Uint8Array): Next {
    this.#option = option;
    if (option === Option.exportName) return this.#exportName(data);
    // A client without the fixed newstyle would not understand a reply.
    if (!this.fixed) return 'close';
    if (option === Option.abort) {
      this.#reply(OptionReply.ack);
      return 'close';
    }
    if (option === Option.startTls) return this.#startTls(data);
    if (this.#mustStartTls) return this.#fail(OptionReply.errTlsRequired, `option ${option} needs TLS`);
    switch (option) {
      case Option.list:
        return this.#list(data);
      case Option.info:
      case Option.go:
        return this.#info(data, option === Option.go);
      case Option.structuredReply:
        return this.#wantDialect(data, 'structured');
      case Option.extendedHeaders:
        return this.#wantDialect(data, 'extended');
      case Option.listMetaContext:
      case Option.setMetaContext:
        return this.#metaContext(data, option === Option.setMetaContext);
      default:
        return this.#fail(OptionReply.errUnsupported, `option ${option} is not known`);
    }
  }

  /** The data of an option is longer than that of any known one: it is not read. */
  refuseTooBig(option: number, bytes: number): void {
    this.#option = option;
    this.#fail(OptionReply.errTooBig, `option data of ${bytes} bytes is too much`);
  }

  /** The client has chosen: the answer to this option may lead to transmission. */
  isChoice(option: number): boolean {
    return (option === Option.go || option === Option.exportName) && !this.#mustStartTls;
  }

  get #mustStartTls(): boolean {
    return this.#access.tls !== null && !this.#tlsUp;
  }

  #exportName(data: Uint8Array): Next {
    const name = parseText(data, 0, data.length);
    const found = name === null ? undefined : this.#access.exports.get(name);
    // This option has no reply that refuses.
    if (found === undefined || this.#mustStartTls || this.dialect === 'extended') return 'close';
    const reply = new Uint8Array(10 + (this.noZeroes ? 0 : RESERVED_BYTES));
    this.#putExport(reply, 0, found);
    this.#outbox.write(reply);
    return found;
  }

  #list(data: Uint8Array): Next {
    if (data.length > 0) return this.#noData();
    for (const { name, description } of this.#access.exports.values()) {
      const nameBytes = UTF8.encode(name);
      const text = UTF8.encode(description ?? '');
      const entry = new Uint8Array(4 + nameBytes.length + text.length);
      putBe32(entry, 0, nameBytes.length);
      entry.set(nameBytes, 4);
      entry.set(text, 4 + nameBytes.length);
      this.#reply(OptionReply.server, entry);
    }
    this.#reply(OptionReply.ack);
    return 'option';
  }

  #info(data: Uint8Array, go: boolean): Next {
    const request = parseInfoRequest(data);
    if (request === null) return this.#malformed();
    const found = this.#access.exports.get(request.name);
    if (found === undefined) return this.#unknown(request.name);
    this.#infoText(request.infos, Info.name, found.name);
    this.#infoText(request.infos, Info.description, found.description);
    const sizes = new Uint8Array(14);
    putBe16(sizes, 0, Info.blockSize);
    putBe32(sizes, 2, BLOCK_SIZES.minimum);
    putBe32(sizes, 6, BLOCK_SIZES.preferred);
    putBe32(sizes, 10, BLOCK_SIZES.maximum);
    this.#reply(OptionReply.info, sizes);
    const about = new Uint8Array(12);
    putBe16(about, 0, Info.export);
    this.#putExport(about, 2, found);
    this.#reply(OptionReply.info, about);
    this.#reply(OptionReply.ack);
    return go ? found : 'option';
  }

  #infoText(wanted: ReadonlySet<number>, info: number, text: string | null): void {
    if (text === null || !wanted.has(info)) return;
    const bytes = UTF8.encode(text);
    const reply = new Uint8Array(2 + bytes.length);
    putBe16(reply, 0, info);
    reply.set(bytes, 2);
    this.#reply(OptionReply.info, reply);
  }

  #wantDialect(data: Uint8Array, dialect: 'structured' | 'extended'): Next {
    if (data.length > 0) return this.#noData();
    if (dialect === 'structured' && this.dialect === 'extended') {
      return this.#fail(OptionReply.errExtendedHeadersRequired, 'extended headers are agreed on already');
    }
    this.dialect = dialect;
    this.#reply(OptionReply.ack);
    return 'option';
  }

  #metaContext(data: Uint8Array, set: boolean): Next {
    if (set) {
      this.#contexts.clear();
      this.#contextsOf = null;
    }
    if (this.dialect === 'simple') {
      return this.#fail(OptionReply.errInvalid, 'structured replies must be agreed on first');
    }
    const request = parseMetaRequest(data);
    if (request === null) return this.#malformed();
    const found = this.#access.exports.get(request.name);
    if (found === undefined) return this.#unknown(request.name);
    for (const id of chooseContexts(found, request, set)) {
      const context = found.contexts[id];
      const name = UTF8.encode(context.name);
      const reply = new Uint8Array(4 + name.length);
      putBe32(reply, 0, set ? id : 0);
      reply.set(name, 4);
      this.#reply(OptionReply.metaContext, reply);
      if (set) this.#contexts.set(id, context);
    }
    if (set) this.#contextsOf = found;
    this.#reply(OptionReply.ack);
    return 'option';
  }

  #startTls(data: Uint8Array): Next {
    if (data.length > 0) return this.#noData();
    if (this.#access.tls === null) return this.#fail(OptionReply.errPolicy, 'TLS not configured');
    if (this.#tlsUp) return this.#fail(OptionReply.errInvalid, 'TLS is up already');
    this.#reply(OptionReply.ack);
    return 'tls';
  }

  /** size64 flags16 */
  #putExport(bytes: Uint8Array, at: number, found: NbdExport): void {
    const payload = this.contextsFor(found).size > 0;
    putBe64(bytes, at, found.size);
    putBe16(bytes, at + 8, found.flags(this.dialect, this.#access.single, payload));
  }

  #noData(): Next {
    return this.#fail(OptionReply.errInvalid, 'this option has no data');
  }

  #malformed(): Next {
    return this.#fail(OptionReply.errInvalid, 'malformed option data');
  }

  #unknown(name: string): Next {
    return this.#fail(OptionReply.errUnknown, `export '${name.slice(0, 64)}' not present`);
  }

  #fail(error: number, message: string): Next {
    this.#reply(error, UTF8.encode(message));
    return 'option';
  }

  #reply(type: number, data: Uint8Array = NOTHING): void {
    const header = new Uint8Array(20);
    putBe32(header, 0, OPTION_REPLY_HIGH);
    putBe32(header, 4, OPTION_REPLY_LOW);
    putBe32(header, 8, this.#option);
    putBe32(header, 12, type);
    putBe32(header, 16, data.length);
    this.#outbox.write(header);
    this.#outbox.write(data);
  }
}

/** Identifiers (places in the export's list) of what the queries name. */
function chooseContexts(found: NbdExport, { queries }: MetaRequest, set: boolean): number[] {
  const all = found.contexts.map((_, id) => id);
  if (queries.length === 0) return set ? [] : all;
  const names = new Set(queries);
  const families = set ? [] : CONTEXT_FAMILIES.filter((family) => names.has(family));
  return all.filter((id) => {
    const { name } = found.contexts[id];
    return names.has(name) || families.some((family) => name.startsWith(family));
  });
}
