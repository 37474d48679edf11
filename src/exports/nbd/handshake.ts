// The fixed newstyle handshake of one client: from the greeting to the moment that both know which export is meant, in which dialect.
//
//   greeting -> client flags -> option -> replies -> option -> ... GO (or EXPORT_NAME) -> transmission
//                                 |
//                              STARTTLS: the link is replaced, and the negotiation begins anew
//
// Exactly as many bytes are asked of the link as the next step needs: what follows belongs to the next step. No further option is looked
// at before the client has taken the replies to the last one.

import type { Link, LinkOwner, TlsSettings } from '../../host/net.js';
import { detach, reportUnforeseen, reportUnless } from '../../util/best-effort.js';
import { getBe32, putBe16, putBe32 } from '../../util/bytes.js';
import { HandshakeFlag, IHAVEOPT_HIGH, IHAVEOPT_LOW, MAGIC_HIGH, MAGIC_LOW } from '../../wire/nbd/constants.js';
import type { Dialect } from '../../wire/nbd/headers.js';
import type { MetaContext } from './contexts.js';
import type { NbdExport } from './export.js';
import { Negotiation, type Next, type PendingClient, type ServerAccess } from './negotiation.js';
import { Outbox } from './outbox.js';
import { RECEIVE_GAP, type Shared } from './shared.js';

/** Largest data of an option, bytes: a client that sends more is dropped. */
const MAX_OPTION_BYTES = 64 * 1024;
/** Options of one handshake. */
const MAX_OPTIONS = 4096;

const OPTION_HEADER_BYTES = 16;

/** What both sides agreed on. */
export interface Agreement {
  link: Link;
  outbox: Outbox;
  export: NbdExport;
  dialect: Dialect;
  /** Block status is about these, by their identifiers. */
  contexts: ReadonlyMap<number, MetaContext>;
}

export class Handshake implements LinkOwner, PendingClient {
  /** When the client did something last, by the host's clock. */
  movedAt = 0;
  readonly #shared: Shared;
  readonly #access: ServerAccess;
  readonly #timeoutMs: number;
  #link: Link;
  #outbox: Outbox;
  #negotiation: Negotiation;
  #end: (agreement: Agreement | null) => void = () => {};
  #cancelTimer: () => void = () => {};
  #deadline = 0;
  /** It is over: with an agreement, or the link is being closed. */
  #over = false;
  /** TLS is being set up: there is no link that could be closed. */
  #shaking = false;

  /** What the next bytes are, and how many of them: those that have come are in `#input`. */
  #step: 'flags' | 'header' | 'data' = 'flags';
  #input = new Uint8Array(4);
  #filled = 0;
  #option = 0;
  #optionCount = 0;
  /** What is done when the client has taken all replies. */
  #next: Next | 'wait' = 'option';
  /** The choice of an export that waits for its turn. */
  #choice: Uint8Array | null = null;

  /** `timeoutMs`: 0 for any time. */
  constructor(shared: Shared, access: ServerAccess, link: Link, timeoutMs: number) {
    this.#shared = shared;
    this.#access = access;
    this.#timeoutMs = timeoutMs;
    this.#link = link;
    this.#outbox = new Outbox(link, shared.host.memory);
    this.#negotiation = new Negotiation(access, this.#outbox, link.tls !== null);
  }

  /** `end` is called once: with what was agreed on, or with null when the link is closed. */
  start(end: (agreement: Agreement | null) => void): void {
    this.#end = end;
    this.#limitTime();
    this.#link.owner = this;
    this.#guarded(() => this.#greet());
  }

  #limitTime(): void {
    const { clock } = this.#shared.host;
    this.movedAt = clock.now();
    if (this.#timeoutMs === 0) return;
    this.#deadline = this.movedAt + this.#timeoutMs;
    this.#cancelTimer = clock.timer(this.#timeoutMs, () => this.close());
  }

  /** There is room for this client now. */
  admitted(): void {
    const choice = this.#choice;
    if (this.#over || choice === null) return;
    this.#choice = null;
    this.#limitTime();
    this.#guarded(() => {
      this.#answerChoice(choice);
      this.#goOn();
    });
  }

  /** Ends it without an agreement. */
  close(graceful = false): void {
    if (this.#over) return;
    this.#over = true;
    this.#cancelTimer();
    if (this.#shaking) this.#end(null);
    else
      detach(
        'nbd handshake',
        this.#link.close(graceful).finally(() => this.#gone()),
      );
  }

  /** It has ended, or is about to. */
  get over(): boolean {
    return this.#over;
  }

  received(count: number): void {
    if (this.#over) return;
    const { block, host } = this.#shared;
    this.movedAt = host.clock.now();
    this.#input.set(block.subarray(RECEIVE_GAP, RECEIVE_GAP + count), this.#filled);
    this.#filled += count;
    this.#guarded(() => {
      if (this.#filled === this.#input.length) this.#take();
      this.#goOn();
    });
  }

  progressed(): void {
    if (this.#over) return;
    this.#outbox.progressed();
    this.#guarded(() => this.#goOn());
  }

  closed(): void {
    if (this.#over) return;
    this.#over = true;
    this.#cancelTimer();
    this.#gone();
  }

  /** The link is closed. */
  #gone(): void {
    this.#outbox.abandon();
    this.#end(null);
  }

  /** A failure here ends this client alone. */
  #guarded(action: () => void): void {
    try {
      action();
    } catch (error) {
      reportUnless('nbd handshake', error, 'limit');
      this.close();
    }
  }

  async #turnAway(link: Link | null): Promise<void> {
    await link?.close();
    this.closed();
  }

  #greet(): void {
    const greeting = new Uint8Array(18);
    putBe32(greeting, 0, MAGIC_HIGH);
    putBe32(greeting, 4, MAGIC_LOW);
    putBe32(greeting, 8, IHAVEOPT_HIGH);
    putBe32(greeting, 12, IHAVEOPT_LOW);
    putBe16(greeting, 16, HandshakeFlag.fixedNewstyle | HandshakeFlag.noZeroes);
    this.#outbox.write(greeting);
    this.#goOn();
  }

  /** Sends what there is; once all is taken, does what comes next. */
  #goOn(): void {
    if (this.#over) return;
    this.#outbox.flush();
    if (!this.#outbox.empty) return;
    const next = this.#next;
    if (next === 'wait') return;
    if (next === 'close') this.close(true);
    else if (next === 'tls') detach('nbd handshake', this.#startTls());
    else if (next === 'option') {
      const missing = this.#input.length - this.#filled;
      this.#link.window(this.#shared.block, RECEIVE_GAP, RECEIVE_GAP + missing);
    } else {
      this.#over = true;
      this.#cancelTimer();
      const { dialect } = this.#negotiation;
      const contexts = this.#negotiation.contextsFor(next);
      this.#end({ link: this.#link, outbox: this.#outbox, export: next, dialect, contexts });
    }
  }

  #expect(step: 'header' | 'data', bytes: number): void {
    this.#step = step;
    this.#input = new Uint8Array(bytes);
    this.#filled = 0;
  }

  #take(): void {
    const input = this.#input;
    if (this.#step === 'flags') this.#takeFlags(getBe32(input, 0));
    else if (this.#step === 'header') this.#takeHeader(input);
    else this.#takeOption(input);
  }

  #takeFlags(flags: number): void {
    if ((flags & ~(HandshakeFlag.fixedNewstyle | HandshakeFlag.noZeroes)) !== 0) this.close();
    this.#negotiation.fixed = (flags & HandshakeFlag.fixedNewstyle) !== 0;
    this.#negotiation.noZeroes = (flags & HandshakeFlag.noZeroes) !== 0;
    this.#expect('header', OPTION_HEADER_BYTES);
  }

  #takeHeader(input: Uint8Array): void {
    const spoken = getBe32(input, 0) === IHAVEOPT_HIGH && getBe32(input, 4) === IHAVEOPT_LOW;
    if (!spoken || ++this.#optionCount > MAX_OPTIONS) {
      this.close();
      return;
    }
    this.#option = getBe32(input, 8);
    const length = getBe32(input, 12);
    if (length > MAX_OPTION_BYTES) {
      // Its data is not read, so that where the next option begins is not known.
      this.#negotiation.refuseTooBig(this.#option, length);
      this.#next = 'close';
    } else if (length > 0) this.#expect('data', length);
    else this.#takeOption(new Uint8Array(0));
  }

  #takeOption(data: Uint8Array): void {
    this.#expect('header', OPTION_HEADER_BYTES);
    if (!this.#negotiation.isChoice(this.#option)) {
      this.#next = this.#negotiation.answer(this.#option, data);
    } else if (this.#access.admit(this)) this.#answerChoice(data);
    else {
      // The client has chosen: the time that it waits to be admitted is not counted.
      this.#cancelTimer();
      this.#choice = data;
      this.#next = 'wait';
    }
  }

  #answerChoice(data: Uint8Array): void {
    this.#next = this.#negotiation.answer(this.#option, data);
    if (typeof this.#next === 'string') this.#access.dismiss(this);
  }

  async #startTls(): Promise<void> {
    const settings = this.#access.tls as TlsSettings;
    this.#next = 'option';
    const { fixed, noZeroes } = this.#negotiation;
    const plain = this.#outbox;
    let link: Link | null = null;
    try {
      const left = this.#timeoutMs === 0 ? 0 : Math.max(1, this.#deadline - this.#shared.host.clock.now());
      this.#shaking = true;
      link = await this.#link.startTls(settings, left);
      this.#shaking = false;
      if (this.#over) {
        // It has taken too long.
        await this.#turnAway(link);
        return;
      }
      // It may end, or be ended, while the caller decides.
      this.#link = link;
      link.owner = this;
      const welcome = await this.#access.authorise(link.tls?.name ?? null);
      if (!welcome || this.#over) {
        await this.#turnAway(link);
        return;
      }
    } catch (error) {
      // A client that fails its handshake is not reported; a callback that throws is.
      reportUnforeseen('nbd handshake', error);
      await this.#turnAway(link);
      return;
    }
    plain.abandon();
    this.#outbox = new Outbox(link, this.#shared.host.memory);
    this.#negotiation = new Negotiation(this.#access, this.#outbox, true);
    this.#negotiation.fixed = fixed;
    this.#negotiation.noZeroes = noZeroes;
    this.#guarded(() => this.#goOn());
  }
}
