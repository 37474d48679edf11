// Why an invented command line ends otherwise than with qemu-img: each rule is a heading of docs/differences.md, and says which differences it stands for. What
// no rule explains is a fault.

import { rmSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { type Outcome, run } from '../../support/cli.js';
import type { Pair } from './beside.js';
import { filtered } from './beside.js';
import type { Images } from './images.js';

interface Difference extends Pair {
  words: readonly string[];
  mine: Outcome;
  other: Outcome;
  /** Both say the same. */
  sameWords: boolean;
  /** Both have failed. */
  bothFail: boolean;
}

/** Of one command. */
type Rule = (found: Difference, images: Images) => boolean;

const RULES: Readonly<Record<string, Rule>> = {
  'measure-wrong-option': ({ words, mine, other }) =>
    words[0] === 'measure' &&
    mine.code === 1 &&
    (/^measure: /.test(other.stderr) || /^qemu-img: (unrecog|missing arg)/.test(mine.stderr)),
  'object-help': ({ words, other }) =>
    words.some((word) => word.endsWith('help')) && /^(List of user creatable objects|.* options):/.test(other.stdout),
  'rebase-itself': ({ mine }) => /An image cannot be its own backing file/.test(mine.stderr),
  'create-protocol': ({ words, mine, other }) =>
    words[0] === 'create' &&
    /Unknown file format '\w+'/.test(mine.stderr) &&
    /Protocol driver '\w+' does not support/.test(other.stderr),
  'measure-help': ({ words, mine }) => words[0] === 'measure' && /^Supported( \w+)? options:/.test(mine.stdout),
  'newer-options': ({ words }) => words[0] === 'rebase' && words.some((word) => /^-(c|-compress)/.test(word)),
  'snapshot-list-is-default': ({ words }) => words[0] === 'snapshot' && !words.some((word) => /^-\w*[lacd]/.test(word)),
  'progress-percentages': ({ words, ours, theirs, faults }) => {
    const bare = ({ said, files }: Pair['ours']) => [
      said.map(({ stdout, ...rest }) => ({ ...rest, stdout: withoutPercents(stdout) })),
      files,
    ];
    return (
      words.some((word) => /^-\w*p/.test(word)) && isDeepStrictEqual(bare(ours), bare(theirs)) && faults.length === 0
    );
  },
  'refused-leaves-nothing': ({ bothFail, sameWords, untouched }) => bothFail && sameWords && untouched,
  'same-file-named': ({ mine, other, bothFail }) =>
    bothFail &&
    mine.stderr.replace(/^'.*' is open in this program$/m, '') ===
      other.stderr.replace(/^Is another process using the image \[.*\]\?$/m, ''),
  'wrong-option-named': ({ bothFail, mine, other }) =>
    bothFail && [mine, other].every(({ stderr }) => /^qemu-img: unrecognized option '/.test(stderr)),
  'size-limit': ({ mine }) => mine.code === 1 && /Sizes beyond 9007199254740991 bytes/.test(mine.stderr),
  'help-first': ({ words, mine }) =>
    words.some((word) => /^-\w*h|^--h/.test(word)) && mine.code === 0 && mine.stdout === 'HELP',
  'dd-zeroes': ({ words, sameWords, faults, ours, theirs }) =>
    words[0] === 'dd' && sameWords && faults.length === 0 && sameInfo(ours, theirs),
  'rebase-units': ({ words, sameWords, faults, ours, theirs }) =>
    words[0] === 'rebase' && sameWords && faults.length === 0 && sameInfo(ours, theirs),
  'convert-units': ({ words, sameWords, faults, ours, theirs }) =>
    words[0] === 'convert' && sameWords && faults.length === 0 && sameInfo(ours, theirs),
  'first-mistake': ({ words, mine, other, untouched }, images) =>
    mine.code !== 0 && other.code !== 0 && untouched && isSaidWithoutOne(words, mine, images),
};

/** The heading that explains the difference; null: none does. */
export function reasonFor(words: readonly string[], pair: Pair, images: Images): string | null {
  const [mine, other] = [pair.ours.said[0], pair.theirs.said[0]];
  const sameWords = isDeepStrictEqual(bare(mine), bare(other));
  const bothFail = mine.code !== 0 && other.code !== 0;
  const found = { ...pair, words, mine, other, sameWords, bothFail };
  return Object.keys(RULES).find((name) => RULES[name](found, images)) ?? null;
}

function bare({ code, stdout, stderr }: Outcome): Outcome {
  return { code, stdout: withoutPercents(stdout), stderr };
}

function withoutPercents(stdout: string): string {
  return stdout
    .replace(/ {4}\([\d.]+\/100%\)\r/g, '')
    .replace(/^\n+/, '')
    .replace(/\n+$/, '\n');
}

/** What `info` says is the same; which part is allocated may differ. */
function sameInfo(ours: Pair['ours'], theirs: Pair['ours']): boolean {
  const infos = ({ files }: Pair['ours']) =>
    Object.entries(files).map(([name, look]) => [name, Array.isArray(look) ? look[0] : look]);
  return isDeepStrictEqual(infos(ours), infos(theirs));
}

/** In the place of what may be wrong. */
const RIGHT = ['a.qcow2', '1M'];

/** Whether qemu-img says `mine` of the same command line with one thing less, or one thing right: then this was one of several mistakes. */
function isSaidWithoutOne(words: readonly string[], mine: Outcome, images: Images): boolean {
  const folder = images.copyFor([...words, ...RIGHT]);
  try {
    return [...edits(words), ...edits(withoutObjects(words))].some(({ edited, was, is }) => {
      const said = filtered(run('qemu-img', edited, folder), folder);
      return said.code === mine.code && isSame(said.stderr, was === '' ? mine.stderr : mine.stderr.replaceAll(was, is));
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Which letter of several behind a dash is wrong is another question (`wrong-option-named`). */
function isSame(a: string, b: string): boolean {
  const wrong = /^qemu-img: unrecognized option '/;
  return a === b || (wrong.test(a) && wrong.test(b));
}

interface Edit {
  edited: string[];
  /** A word that was replaced, and by what. */
  was: string;
  is: string;
}

function* edits(words: readonly string[]): Generator<Edit> {
  const plain = (edited: string[]): Edit => ({ edited, was: '', is: '' });
  yield plain([...words]);
  for (let at = 1; at < words.length; at++) {
    const [before, word, after] = [words.slice(0, at), words[at], words.slice(at + 1)];
    yield plain([...before, ...after]);
    yield plain([...before, ...after.slice(1)]);
    for (const right of RIGHT) yield { edited: [...before, right, ...after], was: word, is: right };
    const parts = word.split(',');
    if (parts.length === 1) continue;
    for (let i = 0; i < parts.length; i++) {
      yield plain([...before, parts.filter((_, part) => part !== i).join(','), ...after]);
    }
  }
}

/** These are made first. */
function withoutObjects(words: readonly string[]): string[] {
  const isObject = (word: string): boolean => word.startsWith('--ob') && '--object'.startsWith(word.split('=')[0]);
  return words.filter(
    (word, at) => !isObject(word) && !(at > 0 && isObject(words[at - 1]) && !words[at - 1].includes('=')),
  );
}
