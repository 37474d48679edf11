// Runs commands: those of `-c`, or those of standard input, until they end or one says `quit`.
//
//   -c --+
//        +--> words --> command --> [image open? writable? enough words?] --> it runs --> 'done', 'failed', 'quit'
//  stdin +

import type { ExercisedDisk } from '../../workspace/exercised-disk.js';
import { reportError, reportFailure, shown, writeMessage } from '../output.js';
import { meant } from '../own-hint.js';
import { Interrupt, type Session } from '../session.js';
import type { IoCommand, IoOutcome, IoState } from './command.js';
import { COMMANDS, commandCalled, isRefused } from './commands.js';
import type { Lines } from './lines.js';
import { type OpenWish, openDisk } from './open-image.js';
import { countComplaint, parseWords, splitWords } from './words.js';

/** What the command line says. */
export interface IoPlan {
  /** The image to begin with; null: none. */
  image: OpenWish | null;
  /** Of `-c`; empty: they come from standard input. */
  commands: readonly string[];
  misaligned: boolean;
  imageOpts: boolean;
}

const LONG_MS = 2 ** 31 - 1;

/** Resolves with the exit code, when the image is closed. Rejects where that fails. */
export async function runIo(session: Session, plan: IoPlan): Promise<number> {
  // A request that a break point holds up does not keep the process alive by itself.
  const stay = setInterval(() => undefined, LONG_MS);
  const program = new Program(session, plan);
  try {
    return await program.run();
  } finally {
    clearInterval(stay);
  }
}

class Program implements IoState {
  readonly session: Session;
  readonly misaligned: boolean;
  readonly imageOpts: boolean;
  disk: ExercisedDisk | null = null;
  readonly #plan: IoPlan;
  /** Null while the first image is being opened: a signal is the system's until then, since the main thread does that and would not hear of it. */
  #interrupt: Interrupt | null = null;
  readonly #interruption = new AbortController();
  /** Resolves at Ctrl-C. */
  readonly #interrupted = new Promise<null>((resolve) => {
    this.#interruption.signal.addEventListener('abort', () => resolve(null), { once: true });
  });
  readonly #stop = (): void => this.#interruption.abort();
  #code = 0;
  #ended = false;

  constructor(session: Session, plan: IoPlan) {
    this.session = session;
    this.misaligned = plan.misaligned;
    this.imageOpts = plan.imageOpts;
    this.#plan = plan;
  }

  async run(): Promise<number> {
    const { image, commands } = this.#plan;
    try {
      if (image !== null && !(await this.open(image))) return 1;
      this.#listen();
      if (commands.length > 0) await this.#runAll(listed(commands));
      else {
        const { standardLines } = await import('./lines.js');
        await this.#runAll(standardLines(this.#stop));
      }
    } finally {
      this.#ended = true;
      const { disk } = this;
      this.disk = null;
      await disk?.close();
    }
    return this.interrupted.aborted && this.#interrupt !== null ? this.#interrupt.cancelledCode : this.#code;
  }

  #listen(): void {
    this.#interrupt = new Interrupt(this.session);
    this.#interrupt.signal.addEventListener('abort', this.#stop, { once: true });
  }

  async #runAll(lines: Lines): Promise<void> {
    try {
      for (;;) {
        const line = await Promise.race([lines.next(), this.#interrupted]);
        if (line === null) return;
        const outcome = await Promise.race([this.#runLine(line), this.#interrupted]);
        if (outcome === null) this.#reportBrokenOff(line);
        if (outcome === null || outcome === 'quit') return;
        if (outcome === 'failed') this.#code = 1;
      }
    } finally {
      lines.close();
    }
  }

  /** Other than by a write nothing changes that there would be something to say of: the image is closed in order. */
  #reportBrokenOff(line: string): void {
    const [called] = splitWords(line);
    const { disk } = this;
    if (disk === null || disk.readOnly || commandCalled(called)?.writes !== true) return;
    reportError(
      `Interrupted. '${shown(disk.image.filename)}' may have a part of what '${called}' was to write, or all of it.`,
    );
  }

  async #runLine(line: string): Promise<IoOutcome> {
    const [called, ...words] = splitWords(line);
    if (called === undefined) return 'done';
    const command = commandCalled(called);
    if (command === undefined) {
      if (isRefused(called)) reportError(`command '${called}' is not supported yet`);
      else reportUnknown(called);
      return 'failed';
    }
    if (!this.#allows(command, called, words.length)) return 'failed';
    const given = parseWords(called, words, command);
    return typeof given === 'string' ? given : command.run(this, given, command);
  }

  #allows(command: IoCommand, called: string, words: number): boolean {
    if (this.disk === null && !command.needsNoImage) {
      writeMessage("no file open, try 'help open'");
      return false;
    }
    const complaint = countComplaint(called, words, command.words);
    if (complaint !== null) {
      writeMessage(complaint);
      return false;
    }
    if (!command.writes || this.disk?.readOnly !== true) return true;
    reportError('Block node is read-only');
    return false;
  }

  async open(wish: OpenWish): Promise<boolean> {
    if (this.disk !== null) {
      reportError("file open already, try 'help close'");
      return false;
    }
    try {
      const disk = await openDisk(this.session, wish);
      // Of a command that was given up nobody waits for the image.
      if (this.#ended) await disk.close();
      else this.disk = disk;
      return true;
    } catch (error) {
      reportFailure(error);
      return false;
    }
  }

  get interrupted(): AbortSignal {
    return this.#interruption.signal;
  }

  releaseSignals(): void {
    this.#interrupt?.stop();
  }
}

function reportUnknown(called: string): void {
  writeMessage(`command "${called}" not found`);
  const names = COMMANDS.map(({ name }) => name);
  for (const line of meant(called, names)) writeMessage(line);
}

function listed(commands: readonly string[]): Lines {
  const left = [...commands];
  return { next: () => Promise.resolve(left.shift() ?? null), close: () => undefined };
}
