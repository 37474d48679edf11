// The fixed newstyle handshake of one client: haggling about options until both know which export is meant, in which dialect.
//
//   greeting -> client flags -> option -> reply, reply, ack -> option -> ... GO (or EXPORT_NAME) -> transmission
//                                 |
//                              STARTTLS: the link is another one, and all is forgotten
//
// Exactly as many bytes are asked of the link as the next step needs: what follows belongs to the next step. No further option is looked
// at before the client has taken the replies to the last one.

import {
  HandshakeFlag,
  IHAVEOPT_HIGH,
  IHAVEOPT_LOW,
  Info,
  MAGIC_HIGH,
  MAGIC_LOW,
  OPTION_REPLY_HIGH,
  OPTION_REPLY_LOW,
  Option,
  OptionReply,
} from '../../drivers/protocols/nbd/wire.js';
import type { Link, LinkOwner, TlsSettings } from '../../host/net.js';
import { get32, put16, put32, put64 } from './bytes.js';
import { type MetaContext, queryLists } from './contexts.js';
import { BLOCK_SIZES, type NbdExport } from './export.js';
import { type MetaRequest, parseInfoRequest, parseMetaRequest, parseText } from './options.js';
import { Outbox } from './outbox.js';
import type { Dialect } from './replies.js';
import { RECEIVE_GAP, type Shared } from './shared.js';

/** Largest data of an option, bytes: a client that sends more is dropped. */
export const MAX_OPTION_BYTES = 64 * 1024;
/** Options of one handshake. */
export const MAX_OPTIONS = 4096;

const OPTION_HEADER_BYTES = 16;
const RESERVED_BYTES = 124;

/** What the handshake asks of the server. */
export interface Reception {
  readonly exports: ReadonlyMap<string, NbdExport>;
  /** One connection at a time. */
  readonly single: boolean;
  /** Set: nothing but STARTTLS is answered before TLS is up. */
  readonly tls: TlsSettings | null;
  /** May the client with this name (null: it has none) come in? */
  authorise(name: string | null): boolean | Promise<boolean>;
}

/** What both sides agreed on. */
export interface Agreement {
  link: Link;
  outbox: Outbox;
  export: NbdExport;
  dialect: Dialect;
  /** Block status is about these, by their identifiers. */
  contexts: ReadonlyMap<number, MetaContext>;
}

export class Handshake implements LinkOwner {
  readonly #shared: Shared;
  readonly #reception: Reception;
  #link: Link;
  #outbox: Outbox;
  #end: ((agreement: Agreement | null) => void) | null = null;
  #cancelTimer: () => void = () => {};
  readonly #timeoutMs: number;
  #deadline = 0;

  /** What the next bytes are, and how many of them: those that have come are in `#input`. */
  #step: 'flags' | 'header' | 'data' = 'flags';
  #input = new Uint8Array(4);
  #filled = 0;
  #option = 0;
  #optionCount = 0;
  /** What is done when the client has taken all replies. */
  #then: 'read' | 'tls' | 'close' = 'read';

  #fixed = false;
  #noZeroes = false;
  #dialect: Dialect = 'simple';
  #contexts = new Map<number, MetaContext>();
  #contextsOf: NbdExport | null = null;

  constructor(shared: Shared, reception: Reception, link: Link, timeoutMs: number) {
    this.#shared = shared;
    this.#reception = reception;
    this.#link = link;
    this.#timeoutMs = timeoutMs;
    this.#outbox = new Outbox(link, shared.host.memory);
  }

  /** `end` is called once: with what was agreed on, or null where the link is closed (or being closed). */
  start(end: (agreement: Agreement | null) => void): void {
    this.#end = end;
    const { clock } = this.#shared.host;
    if (this.#timeoutMs > 0) {
      this.#deadline = clock.now() + this.#timeoutMs;
      this.#cancelTimer = clock.timer(this.#timeoutMs, () => this.close());
    }
    this.#link.owner = this;
    this.#guarded(() => this.#greet());
  }

  /** Ends it without an agreement. */
  close(graceful = false): void {
    const end = this.#end;
    if (end === null) return;
    this.#end = null;
    this.#cancelTimer();
    const link = this.#link;
    const outbox = this.#outbox;
    void link.close(graceful).finally(() => outbox.abandon());
    end(null);
  }

  received(count: number): void {
    if (this.#end === null) return;
    const { block } = this.#shared;
    this.#input.set(block.subarray(RECEIVE_GAP, RECEIVE_GAP + count), this.#filled);
    this.#filled += count;
    this.#guarded(() => {
      if (this.#filled === this.#input.length) this.#take();
      this.#goOn();
    });
  }

  progressed(): void {
    if (this.#end === null) return;
    this.#outbox.progressed();
    this.#guarded(() => this.#goOn());
  }

  closed(): void {
    if (this.#end !== null) this.close();
  }

  /** Whatever goes wrong here is this client's affair alone. */
  #guarded(action: () => void): void {
    try {
      action();
    } catch {
      this.close();
    }
  }

  #greet(): void {
    const greeting = new Uint8Array(18);
    put32(greeting, 0, MAGIC_HIGH);
    put32(greeting, 4, MAGIC_LOW);
    put32(greeting, 8, IHAVEOPT_HIGH);
    put32(greeting, 12, IHAVEOPT_LOW);
    put16(greeting, 16, HandshakeFlag.fixedNewstyle | HandshakeFlag.noZeroes);
    this.#outbox.write(greeting);
    this.#goOn();
  }

  /** Sends what there is; once all is taken, does what comes next. */
  #goOn(): void {
    if (this.#end === null) return;
    this.#outbox.flush();
    if (!this.#outbox.empty) return;
    if (this.#then === 'close') this.close(true);
    else if (this.#then === 'tls') void this.#startTls();
    else {
      const missing = this.#input.length - this.#filled;
      const { block } = this.#shared;
      this.#link.window(block, RECEIVE_GAP, Math.min(block.length, RECEIVE_GAP + missing));
    }
  }

  #expect(step: 'header' | 'data', bytes: number): void {
    this.#step = step;
    this.#input = new Uint8Array(bytes);
    this.#filled = 0;
  }

  #take(): void {
    const input = this.#input;
    if (this.#step === 'flags') this.#takeFlags(get32(input, 0));
    else if (this.#step === 'header') this.#takeHeader(input);
    else this.#takeOption(input);
  }

  #takeFlags(flags: number): void {
    if ((flags & ~(HandshakeFlag.fixedNewstyle | HandshakeFlag.noZeroes)) !== 0) {
      this.close();
      return;
    }
    this.#fixed = (flags & HandshakeFlag.fixedNewstyle) !== 0;
    this.#noZeroes = (flags & HandshakeFlag.noZeroes) !== 0;
    this.#expect('header', OPTION_HEADER_BYTES);
  }

  #takeHeader(input: Uint8Array): void {
    if (get32(input, 0) !== IHAVEOPT_HIGH || get32(input, 4) !== IHAVEOPT_LOW) {
      this.close();
      return;
    }
    this.#option = get32(input, 8);
    const length = get32(input, 12);
    if (++this.#optionCount > MAX_OPTIONS) {
      this.close();
      return;
    }
    if (length > MAX_OPTION_BYTES) {
      // What comes cannot be told from options any more once it is not read.
      this.#fail(OptionReply.errTooBig, `option data of ${length} bytes is more than ${MAX_OPTION_BYTES}`);
      this.#then = 'close';
      return;
    }
    if (length > 0) this.#expect('data', length);
    else this.#takeOption(new Uint8Array(0));
  }

  #takeOption(data: Uint8Array): void {
    this.#expect('header', OPTION_HEADER_BYTES);
    const option = this.#option;
    if (option === Option.exportName) {
      this.#exportName(data);
      return;
    }
    // Who does not speak the fixed dialect would not understand a reply.
    if (!this.#fixed) {
      this.close();
      return;
    }
    if (option === Option.abort) {
      this.#reply(OptionReply.ack);
      this.#then = 'close';
      return;
    }
    if (option === Option.startTls) {
      this.#wantTls(data);
      return;
    }
    if (this.#mustStartTls) {
      this.#fail(OptionReply.errTlsRequired, `option ${option} needs TLS`);
      return;
    }
    switch (option) {
      case Option.list:
        this.#list(data);
        return;
      case Option.info:
      case Option.go:
        this.#info(data, option === Option.go);
        return;
      case Option.structuredReply:
        this.#wantDialect(data, 'structured');
        return;
      case Option.extendedHeaders:
        this.#wantDialect(data, 'extended');
        return;
      case Option.listMetaContext:
      case Option.setMetaContext:
        this.#metaContext(data, option === Option.setMetaContext);
        return;
      default:
        this.#fail(OptionReply.errUnsupported, `option ${option} is not known`);
        return;
    }
  }

  get #mustStartTls(): boolean {
    return this.#reception.tls !== null && this.#link.tls === null;
  }

  #exportName(data: Uint8Array): void {
    const name = parseText(data, 0, data.length);
    const found = name === null ? undefined : this.#reception.exports.get(name);
    // There is no way to say no.
    if (found === undefined || this.#mustStartTls || this.#dialect === 'extended') {
      this.close();
      return;
    }
    const reply = new Uint8Array(10 + (this.#noZeroes ? 0 : RESERVED_BYTES));
    this.#putExport(reply, 0, found);
    this.#outbox.write(reply);
    this.#agree(found);
  }

  #list(data: Uint8Array): void {
    if (data.length > 0) {
      this.#fail(OptionReply.errInvalid, 'this option has no data');
      return;
    }
    const utf8 = new TextEncoder();
    for (const { name, description } of this.#reception.exports.values()) {
      const nameBytes = utf8.encode(name);
      const text = utf8.encode(description ?? '');
      const entry = new Uint8Array(4 + nameBytes.length + text.length);
      put32(entry, 0, nameBytes.length);
      entry.set(nameBytes, 4);
      entry.set(text, 4 + nameBytes.length);
      this.#reply(OptionReply.server, entry);
    }
    this.#reply(OptionReply.ack);
  }

  #info(data: Uint8Array, go: boolean): void {
    const request = parseInfoRequest(data);
    if (request === null) {
      this.#fail(OptionReply.errInvalid, 'the option does not add up');
      return;
    }
    const found = this.#find(request.name);
    if (found === null) return;
    const { infos } = request;
    this.#infoText(infos, Info.name, found.name);
    this.#infoText(infos, Info.description, found.description);
    const sizes = new Uint8Array(14);
    put16(sizes, 0, Info.blockSize);
    put32(sizes, 2, BLOCK_SIZES.minimum);
    put32(sizes, 6, BLOCK_SIZES.preferred);
    put32(sizes, 10, BLOCK_SIZES.maximum);
    this.#reply(OptionReply.info, sizes);
    const about = new Uint8Array(12);
    put16(about, 0, Info.export);
    this.#putExport(about, 2, found);
    this.#reply(OptionReply.info, about);
    this.#reply(OptionReply.ack);
    if (go) this.#agree(found);
  }

  #infoText(infos: ReadonlySet<number>, info: number, text: string | null): void {
    if (text === null || !infos.has(info)) return;
    const bytes = new TextEncoder().encode(text);
    const reply = new Uint8Array(2 + bytes.length);
    put16(reply, 0, info);
    reply.set(bytes, 2);
    this.#reply(OptionReply.info, reply);
  }

  #wantDialect(data: Uint8Array, dialect: 'structured' | 'extended'): void {
    if (data.length > 0) {
      this.#fail(OptionReply.errInvalid, 'this option has no data');
      return;
    }
    if (dialect === 'structured' && this.#dialect === 'extended') {
      this.#fail(OptionReply.errExtendedHeadersRequired, 'extended headers are agreed on already');
      return;
    }
    this.#dialect = dialect;
    this.#reply(OptionReply.ack);
  }

  #metaContext(data: Uint8Array, set: boolean): void {
    if (set) {
      this.#contexts.clear();
      this.#contextsOf = null;
    }
    if (this.#dialect === 'simple') {
      this.#fail(OptionReply.errInvalid, 'structured replies must be agreed on first');
      return;
    }
    const request = parseMetaRequest(data);
    if (request === null) {
      this.#fail(OptionReply.errInvalid, 'the option does not add up');
      return;
    }
    const found = this.#find(request.name);
    if (found === null) return;
    const chosen = chooseContexts(found, request, set);
    for (const id of chosen) {
      const context = found.contexts[id];
      const name = new TextEncoder().encode(context.name);
      const reply = new Uint8Array(4 + name.length);
      put32(reply, 0, set ? id : 0);
      reply.set(name, 4);
      this.#reply(OptionReply.metaContext, reply);
      if (set) this.#contexts.set(id, context);
    }
    if (set) this.#contextsOf = found;
    this.#reply(OptionReply.ack);
  }

  #wantTls(data: Uint8Array): void {
    if (data.length > 0) {
      this.#fail(OptionReply.errInvalid, 'this option has no data');
      return;
    }
    if (this.#reception.tls === null) {
      this.#fail(OptionReply.errPolicy, 'TLS not configured');
      return;
    }
    if (this.#link.tls !== null) {
      this.#fail(OptionReply.errInvalid, 'TLS is up already');
      return;
    }
    this.#reply(OptionReply.ack);
    this.#then = 'tls';
  }

  async #startTls(): Promise<void> {
    const settings = this.#reception.tls as TlsSettings;
    this.#then = 'read';
    const plain = this.#outbox;
    try {
      const left = this.#timeoutMs === 0 ? 0 : Math.max(1, this.#deadline - this.#shared.host.clock.now());
      const link = await this.#link.startTls(settings, left);
      plain.abandon();
      if (this.#end === null) return void link.close();
      this.#link = link;
      this.#outbox = new Outbox(link, this.#shared.host.memory);
      link.owner = this;
      if (!(await this.#reception.authorise(link.tls?.name ?? null))) return this.close();
      // Nothing that was said in plain text holds.
      this.#dialect = 'simple';
      this.#contexts.clear();
      this.#contextsOf = null;
      this.#guarded(() => this.#goOn());
    } catch {
      this.close();
    }
  }

  #find(name: string): NbdExport | null {
    const found = this.#reception.exports.get(name);
    if (found !== undefined) return found;
    this.#fail(OptionReply.errUnknown, `export '${name.slice(0, 64)}' not present`);
    return null;
  }

  /** size64 flags16 */
  #putExport(bytes: Uint8Array, at: number, found: NbdExport): void {
    const payload = this.#contextsOf === found && this.#contexts.size > 0;
    put64(bytes, at, found.size);
    put16(bytes, at + 8, found.flags(this.#dialect, this.#reception.single, payload));
  }

  #agree(found: NbdExport): void {
    const end = this.#end;
    if (end === null) return;
    this.#end = null;
    this.#cancelTimer();
    const contexts = this.#contextsOf === found ? this.#contexts : new Map<number, MetaContext>();
    end({ link: this.#link, outbox: this.#outbox, export: found, dialect: this.#dialect, contexts });
  }

  #fail(error: number, message: string): void {
    this.#reply(error, new TextEncoder().encode(message));
  }

  #reply(type: number, data: Uint8Array = new Uint8Array(0)): void {
    const header = new Uint8Array(20);
    put32(header, 0, OPTION_REPLY_HIGH);
    put32(header, 4, OPTION_REPLY_LOW);
    put32(header, 8, this.#option);
    put32(header, 12, type);
    put32(header, 16, data.length);
    this.#outbox.write(header);
    this.#outbox.write(data);
  }
}

/** Identifiers (places in the export's list) of what the queries name. */
function chooseContexts(found: NbdExport, { queries }: MetaRequest, set: boolean): number[] {
  const all = found.contexts.map((_, id) => id);
  if (set) {
    const names = new Set(queries);
    return all.filter((id) => names.has(found.contexts[id].name));
  }
  if (queries.length === 0) return all;
  return all.filter((id) => queries.some((query) => queryLists(query, found.contexts[id].name)));
}
