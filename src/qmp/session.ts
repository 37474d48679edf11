// One client of a monitor: greeting, negotiation, and then commands and events.
//
//   bytes --MessageParser--> message --> negotiation: qmp_capabilities, and nothing else
//                                    --> queue: one command after the other, answers in order
//                                    --> out of band: at once, beside the one that is under way
//
// What is wrong with a message is answered in its turn, too. A client that does not read what is sent to it is dropped once too much has piled
// up; others do not notice.
//
// Nothing is read from a client while its commands wait. Its end is therefore seen when it has been answered: what `printf ... | socat` sends is
// carried out, though nothing follows it. A client whose commands may overtake is read on, up to a full queue.

import { validate } from '../schema/validate.js';
import { detach } from '../util/best-effort.js';
import { Serial } from '../util/serial.js';
import type { Caller } from './command.js';
import type { QmpContext } from './context.js';
import { type Answer, BadRequest, isOutOfBand, parseRequest, type Request, refusal, runCommand } from './dispatch.js';
import { qmpErrorOf } from './error.js';
import type { QmpName } from './generations.js';
import { MessageParser } from './json/parser.js';
import { writeJson } from './json/writer.js';
import { ReceivedDescriptors } from './received.js';
import { versionInfo } from './version.js';

/** Commands that wait for the one that is under way, of a client whose commands may overtake: beyond that, nothing is read from it. */
const MAX_QUEUE = 64;
/** Bytes that a client has not taken. */
const MAX_BACKLOG_BYTES = 64 << 20;

/** So many are read at once, before it is looked whether the queue is full. */
const SLICE_BYTES = 1024;
const NOTHING = new Uint8Array(0);

const NEGOTIATE = 'qmp_capabilities';

/** Where a session writes to. */
export interface SessionLink {
  write(text: string): void;
  /** Bytes that were written and not taken yet. */
  readonly backlogBytes: number;
  /** Whether bytes are to be delivered. */
  receive(on: boolean): void;
  /** Ends the connection, what was written included. */
  drop(): void;
}

export interface SessionOptions {
  /** JSON in many lines, for people. */
  pretty?: boolean;
}

export class Session {
  readonly #context: QmpContext;
  readonly #link: SessionLink;
  readonly #pretty: boolean;
  readonly #parser: MessageParser;
  readonly #commands = new Serial();
  /** Those out of band, among each other. */
  readonly #urgent = new Serial();
  readonly #descriptors: ReceivedDescriptors;
  #queued = 0;
  /** Whether the link delivers bytes. */
  #listens = true;
  /** What came while the queue was full. */
  #unread: Uint8Array = NOTHING;
  #stopTimer = (): void => undefined;
  /** Undefined until the negotiation has ended. */
  #capabilities: ReadonlySet<string> | undefined;
  #stopEvents: (() => void) | null = null;
  #closed = false;

  constructor(context: QmpContext, link: SessionLink, { pretty = false }: SessionOptions = {}) {
    this.#context = context;
    this.#link = link;
    this.#pretty = pretty;
    this.#descriptors = new ReceivedDescriptors(context.graph.host.passed, this);
    this.#parser = new MessageParser({
      message: (message) => this.#message(message),
      malformed: (error) => this.#enqueue(async () => ({ error: { class: 'GenericError', desc: error.message } })),
    });
  }

  /** Sends the greeting. */
  start(): void {
    this.#send({ QMP: { version: versionInfo(this.#context), capabilities: ['oob'] } });
  }

  /** The bytes are the caller's again after the call. */
  received(bytes: Uint8Array): void {
    this.#descriptors.bytesCame();
    this.#read(this.#unread.length === 0 ? bytes : Buffer.concat([this.#unread, bytes]));
  }

  /** Whether as many commands wait as this client may have. */
  get #full(): boolean {
    return this.#queued >= (this.#overtakes ? MAX_QUEUE : 1);
  }

  get #overtakes(): boolean {
    return this.#capabilities?.has('oob') === true;
  }

  /** Reads messages, as many as the queue takes; the rest is read when it is shorter again. */
  #read(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length && !this.#full && !this.#closed) {
      this.#parser.feed(bytes.subarray(at, at + SLICE_BYTES));
      at += SLICE_BYTES;
    }
    this.#unread = this.#closed ? NOTHING : Buffer.from(bytes.subarray(at));
  }

  #readOn(): void {
    if (this.#closed) return;
    this.#read(this.#unread);
    this.#listen(!this.#full);
  }

  #listen(on: boolean): void {
    if (on === this.#listens) return;
    this.#listens = on;
    this.#link.receive(on);
  }

  /** A descriptor that the client has passed with the bytes that come next. */
  descriptor(fd: number): void {
    if (this.#closed) this.#context.graph.host.passed.drop(fd);
    else this.#descriptors.add(fd);
  }

  /** The client has gone, or is to go: what is under way goes on, and is not answered. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopEvents?.();
    this.#stopTimer();
    this.#descriptors.close();
    this.#context.graph.host.passed.forgetAllOf(this);
  }

  #message(message: unknown): void {
    const caller = this.#descriptors.forMessage();
    const run = (): Promise<Answer> => this.#handle(message, caller);
    // Until the negotiation has ended, it is not known what may overtake.
    if (!this.#overtakes) this.#enqueue(run);
    else if (isOutOfBand(message)) this.#enqueue(run, this.#urgent);
    else {
      // What came out of band before it is answered before it.
      const earlier = this.#urgent.run(async () => undefined);
      this.#enqueue(() => earlier.then(run));
    }
  }

  #enqueue(action: () => Promise<Answer>, queue = this.#commands): void {
    this.#queued++;
    this.#listen(!this.#full);
    const run = queue.run(async () => {
      if (!this.#closed) await this.#answer(action);
      this.#queued--;
      if (this.#listens || this.#full) return;
      // In another turn: a client that sends without end must not keep the others from theirs.
      if (this.#unread.length > 0) this.#stopTimer = this.#context.graph.host.clock.timer(0, () => this.#readOn());
      else this.#readOn();
    });
    detach('monitor', run);
  }

  async #answer(action: () => Promise<Answer>): Promise<void> {
    await this.#context.ready;
    const answer = await action();
    if (!this.#closed) this.#send(answer);
  }

  async #handle(message: unknown, caller: ReturnType<ReceivedDescriptors['forMessage']>): Promise<Answer> {
    let request: Request;
    try {
      request = parseRequest(message, this.#overtakes);
    } catch (error) {
      if (!(error instanceof BadRequest)) throw error;
      caller.done();
      return { error: { class: 'GenericError', desc: error.message }, id: error.id };
    }
    const { id } = request;
    const answer = await this.#perform(request, caller);
    caller.done();
    return id === undefined ? answer : { ...answer, id };
  }

  async #perform(request: Request, caller: Caller): Promise<Answer> {
    const { name, args } = request;
    if (this.#capabilities === undefined && name !== NEGOTIATE) {
      const desc = `Expecting capabilities negotiation with '${NEGOTIATE}'`;
      return { error: { class: 'CommandNotFound', desc } };
    }
    const refused = refusal(request, this.#context.generations);
    if (refused !== null) return { error: refused };
    return name === NEGOTIATE ? this.#negotiate(args) : runCommand(this.#context, name as QmpName, args, caller);
  }

  #negotiate(args: unknown): Answer {
    let enable: readonly string[] | undefined;
    try {
      ({ enable } = validate('QmpCapabilitiesArguments', args));
    } catch (error) {
      return { error: qmpErrorOf(error) };
    }
    if (this.#capabilities !== undefined) {
      const desc = 'Capabilities negotiation is already complete, command ignored';
      return { error: { class: 'CommandNotFound', desc } };
    }
    this.#capabilities = new Set(enable);
    this.#stopEvents = this.#context.events.on((event) => this.#send(event));
    return { return: {} };
  }

  #send(message: object): void {
    if (this.#closed) return;
    this.#link.write(`${writeJson(message, this.#pretty)}\r\n`);
    if (this.#link.backlogBytes <= MAX_BACKLOG_BYTES) return;
    this.close();
    this.#link.drop();
  }
}
