// What a command of `diskwright io` is, and what it works with.

import type { ExercisedDisk } from '../../workspace/exercised-disk.js';
import type { Session } from '../session.js';
import type { OpenWish } from './open-image.js';

/** The state of the program between two commands. */
export interface IoState {
  readonly session: Session;
  /** The open image; null: none. */
  disk: ExercisedDisk | null;
  /** Buffers are not aligned (`-m`). */
  readonly misaligned: boolean;
  /** File names of `open` are strings of options (`--image-opts`). */
  readonly imageOpts: boolean;
  /** Opens an image as `disk`. False after a failure was reported. */
  open(wish: OpenWish): Promise<boolean>;
  /** The program is about to end itself by a signal: its own handlers are taken off. */
  releaseSignals(): void;
  /** Aborts at Ctrl-C. */
  readonly interrupted: AbortSignal;
}

export interface IoOption {
  what: string;
  /** Reads the argument; null after a wrong one was reported. */
  read?(argument: string): number | null;
  /** The option is all of the command: what stands behind it is not looked at. */
  alone?(): IoOutcome;
}

/** `failed`: the program's exit code is 1 in the end. */
export type IoOutcome = 'done' | 'failed' | 'quit';

export interface IoCommand {
  name: string;
  alias?: string;
  /** `[-Cq] off len` */
  synopsis: string;
  /** What it does, in one line. */
  summary: string;
  /** Paragraphs of `help NAME`, after that line. */
  details?: string;
  /** Letters of its options, those with an argument followed by a colon, and what they do. Without it, every word is an operand. */
  options?: Readonly<Record<string, string | IoOption>>;
  /** How many words may follow the name. */
  words: readonly [least: number, most: number];
  /** It works without an open image. */
  needsNoImage?: true;
  /** It changes the image: refused where that is read-only. */
  writes?: true;
  run(state: IoState, given: GivenWords, command: IoCommand): Promise<IoOutcome> | IoOutcome;
}

/** The words after a command's name. */
export interface GivenWords {
  /** Options in their order, and their arguments (an empty text where there is none). */
  readonly options: readonly (readonly [letter: string, argument: string])[];
  readonly operands: readonly string[];
  has(letter: string): boolean;
  /** The last argument of the option. */
  get(letter: string): string | undefined;
  /** The same, as it was read. */
  number(letter: string): number | undefined;
}

/** The image of a command that is run only while one is open. */
export function diskOf({ disk }: IoState): ExercisedDisk {
  if (disk === null) throw new Error('no image is open');
  return disk;
}
