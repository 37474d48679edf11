// Command line options as getopt_long takes them: `-U -f raw`, `-Ufraw`, `--output=json`, `--output json`, options after
// file names, `--` before the last of them. Long options can be abbreviated only where the program was called by qemu-img's name.

import type { QapiTypes } from '../schema/generated/types.js';
import { meantLine } from '../util/nearest.js';
import type { FormatNames } from './format-names.js';

/** A text of a help; a function where it names formats. */
export type FormattedText = string | ((formats: FormatNames) => string);

export function formatted(text: FormattedText, formats: FormatNames): string {
  return typeof text === 'string' ? text : text(formats);
}

/** One option of a verb. At least one of `short` and `long` is set. */
export interface OptionSpec {
  /** The key of its value in `ParsedOptions`. */
  key: string;
  /** One letter, without the dash. */
  short?: string;
  /** Without the dashes. */
  long?: string;
  /** Placeholder of its argument in the help; without it the option takes none. */
  argument?: string;
  /** The argument is the format of a new image: one that images are made in. */
  namesNewFormat?: true;
  /** What the argument may be, where that is a short list: for completion, and for what may have been meant by another word. */
  values?: readonly string[];
  /**
   * The argument is a list of parameters (`id=ID,path=PATH`) or JSON, of this type; null: of which type, what stands in it says. Absent: it is a word.
   */
  parameters?: keyof QapiTypes | null;
  help: FormattedText;
  /** The verb's peer (qemu-img, ...) has the option, Diskwright does not yet: it is refused as not supported. */
  refused?: boolean;
  /** It is Diskwright's own, or its long form is: not taken where the program was called by its peer's name. */
  own?: true | 'long';
  /** Heading in the help, under which the options of a group are listed. Default: `Options`. */
  group?: string;
}

/** Messages for wrong options: each program that Diskwright can replace has its own. */
export interface GetoptWords {
  /** `option` is as it was typed: `-z`, `--frob=1`. */
  unknown(option: string): string;
  missingArgument(option: string): string;
  unwantedArgument(option: string, typed: string): string;
  /** A line of its own after that. */
  unwantedAdvice?(option: string): string;
  /** A line of its own after that for an unknown option: what may have been meant. */
  advice?(option: string, specs: readonly OptionSpec[]): string | null;
  /** A long option may be abbreviated, as long as it is not ambiguous. */
  abbreviated?: true;
}

/** The messages of qemu-img. */
export const QEMU_IMG_WORDS: GetoptWords = {
  unknown: (option) => `unrecognized option '${option}'`,
  missingArgument: (option) => `missing argument for option '${option}'`,
  unwantedArgument: (_, typed) => `unrecognized option '${typed}'`,
  abbreviated: true,
};

/** The messages of the C library's getopt_long. */
export const PLAIN_WORDS: GetoptWords = {
  unknown: (option) =>
    option.startsWith('--') ? `unrecognized option '${option}'` : `invalid option -- '${option[1]}'`,
  missingArgument: (option) =>
    option.startsWith('--')
      ? `option '${option}' requires an argument`
      : `option requires an argument -- '${option[1]}'`,
  unwantedArgument: (option) => `option '${option}' doesn't allow an argument`,
};

/** The same, with a suggestion after them. */
export const ADVISING_WORDS: GetoptWords = { ...PLAIN_WORDS, advice: nearestOption };

/** The messages of Diskwright's verbs: those of qemu-img, with a suggestion after them. */
export const OWN_WORDS: GetoptWords = {
  ...QEMU_IMG_WORDS,
  abbreviated: undefined,
  advice: nearestOption,
  unwantedAdvice: (option) => `'${option}' takes no argument.`,
};

/** Names the long option that is spelled most like `option`. */
function nearestOption(option: string, specs: readonly OptionSpec[]): string | null {
  const typed = option.startsWith('--') ? option.slice(2).split('=', 1)[0] : '';
  const known = specs.flatMap(({ long, refused }) => (long === undefined || refused ? [] : [long]));
  return typed === '' ? null : (meantLine(typed, known, '--') ?? null);
}

/** A mistake in the command line. `lines` are printed, each after the program's name, then `after` as they are. */
export class UsageError extends Error {
  readonly lines: readonly string[];
  /** Whether to print a hint at `--help`. */
  readonly hint: boolean;
  readonly after: readonly string[];

  constructor(lines: string | readonly string[], hint = false, after: readonly string[] = []) {
    super(typeof lines === 'string' ? lines : lines.join('\n'));
    this.lines = typeof lines === 'string' ? [lines] : lines;
    this.hint = hint;
    this.after = after;
  }
}

export class ParsedOptions {
  readonly positional: readonly string[];
  /** All options as they were given, one after the other: key and value. */
  readonly inOrder: readonly (readonly [string, string])[];
  readonly #values: ReadonlyMap<string, readonly string[]>;

  constructor(inOrder: readonly (readonly [string, string])[], positional: readonly string[]) {
    const values = new Map<string, string[]>();
    for (const [key, value] of inOrder) values.set(key, [...(values.get(key) ?? []), value]);
    this.inOrder = inOrder;
    this.#values = values;
    this.positional = positional;
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  /** The last value of the option. */
  get(key: string): string | undefined {
    return this.#values.get(key)?.at(-1);
  }

  /** All values of the option, in their order. */
  all(key: string): readonly string[] {
    return this.#values.get(key) ?? [];
  }
}

/** Parses a verb's arguments. Throws `UsageError` for unknown and refused options and for missing arguments. */
export function parseOptions(
  args: readonly string[],
  specs: readonly OptionSpec[],
  words: GetoptWords = OWN_WORDS,
): ParsedOptions {
  const given: (readonly [string, string])[] = [];
  const positional: string[] = [];
  let at = 0;

  const take = (spec: OptionSpec, shown: string, attached: string | undefined): void => {
    if (spec.refused) throw new UsageError(`option '${shown}' is not supported yet`);
    let value = '';
    if (spec.argument !== undefined) {
      const argument = attached ?? args[at++];
      if (argument === undefined) throw new UsageError(words.missingArgument(shown), true);
      value = argument;
    }
    given.push([spec.key, value]);
    // What stands behind a request for help is not looked at.
    if (spec.key === 'help') at = args.length;
  };

  while (at < args.length) {
    const word = args[at++];
    if (word === '--') {
      positional.push(...args.slice(at));
      break;
    }
    if (word.startsWith('--')) {
      const equals = word.indexOf('=');
      const name = word.slice(2, equals < 0 ? undefined : equals);
      const spec = longOption(name, specs, words);
      const attached = equals < 0 ? undefined : word.slice(equals + 1);
      if (spec === undefined) {
        const advice = words.advice?.(word, specs) ?? null;
        throw new UsageError(words.unknown(word), true, advice === null ? [] : [advice]);
      }
      if (attached !== undefined && spec.argument === undefined) {
        const advice = words.unwantedAdvice?.(`--${name}`);
        throw new UsageError(words.unwantedArgument(`--${name}`, word), true, advice === undefined ? [] : [advice]);
      }
      take(spec, `--${name}`, attached);
    } else if (word.startsWith('-') && word.length > 1) {
      for (let letter = 1; letter < word.length; letter++) {
        const spec = specs.find((candidate) => candidate.short === word[letter]);
        if (spec === undefined) throw new UsageError(words.unknown(`-${word[letter]}`), true);
        const rest = word.slice(letter + 1);
        take(spec, `-${word[letter]}`, rest === '' ? undefined : rest);
        if (spec.argument !== undefined || spec.key === 'help') break;
      }
    } else {
      positional.push(word);
    }
  }
  return new ParsedOptions(given, positional);
}

/** The option of that name; where they may be abbreviated, also the only one that begins so. */
function longOption(name: string, specs: readonly OptionSpec[], words: GetoptWords): OptionSpec | undefined {
  const exact = specs.find(({ long }) => long === name);
  if (exact !== undefined || !words.abbreviated || name === '') return exact;
  const found = specs.filter(({ long }) => long?.startsWith(name));
  return found.length === 1 ? found[0] : undefined;
}
