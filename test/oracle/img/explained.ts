// Why an invented command line ends otherwise than with qemu-img: each rule is a heading of docs/differences.md, and says which differences it stands for. What
// no rule explains is a fault.

import { rmSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { type Outcome, run } from '../../support/cli.js';
import { filtered, type Pair } from './beside.js';
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
  'convert-n-rest': ({ words, sameWords, faults }) =>
    words[0] === 'convert' &&
    words.some((word) => /^-\w*n/.test(word)) &&
    sameWords &&
    faults.length > 0 &&
    faults.every((fault) => /: the content differs, as qemu-img reads it \(ours is that of [\w.]+\)$/.test(fault)),
  'measure-wrong-option': ({ words, mine, other }) =>
    words[0] === 'measure' &&
    mine.code === 1 &&
    (/^measure: /.test(other.stderr) || /^qemu-img: (unrecog|missing arg)/.test(mine.stderr)),
  'measure-option-values': ({ words, mine, other }) =>
    words[0] === 'measure' &&
    ((mine.code === 0 && /^qemu-img: Invalid compatibility level: 'v[23]'$/.test(other.stderr)) ||
      (/^qemu-img: Invalid compatibility level/.test(other.stderr) &&
        /^qemu-img: Parameter 'version'/.test(mine.stderr)) ||
      (other.code === 0 && /^qemu-img: Parameter '(backing-fmt|format)' does not accept value/.test(mine.stderr)) ||
      (other.code === 0 &&
        /^qemu-img: (Parameter 'encrypt\.[\w-]+' is (missing|unexpected)|'encrypt\.format' and its alias)/.test(
          mine.stderr,
        ))),
  'object-help': ({ words, other }) =>
    words.some((word) => word.endsWith('help')) && /^(List of user creatable objects|.* options):/.test(other.stdout),
  'rebase-itself': ({ mine }) => /An image cannot be its own backing file/.test(mine.stderr),
  'rebase-snapshots': ({ words, mine }) =>
    words[0] === 'rebase' && mine.code === 1 && /The image has internal snapshots/.test(mine.stderr),
  'snapshot-lost-backing': ({ words, mine, other }) =>
    words[0] === 'snapshot' && mine.code === 0 && /Could not open backing file/.test(other.stderr),
  'rebase-v2-zeroes': ({ words, sameWords, faults }) =>
    words[0] === 'rebase' &&
    words.includes('v2.qcow2') &&
    sameWords &&
    faults.every((fault) => fault === 'v2.qcow2: the content differs, as qemu-img reads it'),
  'cut-off': ({ words, sameWords, faults }) =>
    (/^(dd|convert)$/.test(words[0]) ||
      (words[0] === 'resize' && words.some((word) => /^(-f)?(file|raw)$/.test(word)))) &&
    sameWords &&
    faults.length > 0 &&
    faults.every((fault) => /our compare ends with 2, qemu-img's with 0$/.test(fault)),
  'names-inside-images': ({ bothFail, mine }) =>
    bothFail && /which is not opened: it is neither a file/.test(mine.stderr),
  'create-protocol': ({ words, mine, other }) =>
    (words[0] === 'create' &&
      /Unknown file format '\w+'/.test(mine.stderr) &&
      /Protocol driver '\w+' does not support/.test(other.stderr)) ||
    (/^(create|dd|convert)$/.test(words[0]) &&
      /Unknown file format/.test(mine.stderr) &&
      words.some((word) => /^(-[fO])?file$/.test(word))),
  'measure-help': ({ words, mine, other }) =>
    words[0] === 'measure' && /^Supported( \w+)? options:/.test(mine.stdout) && other.code !== 0,
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
    mine.stderr.replace(/^This program has '.*' open already$/m, '') ===
      other.stderr.replace(/^Is another process using the image \[.*\]\?$/m, ''),
  'wrong-option-named': ({ bothFail, mine, other }) =>
    bothFail && [mine, other].every(({ stderr }) => /^qemu-img: unrecognized option '/.test(stderr)),
  'size-limit': ({ mine }) => mine.code === 1 && /[Ss]izes beyond 9007199254740991 bytes/.test(mine.stderr),
  'help-first': ({ words, mine, other }) =>
    mine.code === 0 &&
    other.code !== 0 &&
    ((words.some((word) => /^-\w*h|^--h/.test(word)) && mine.stdout === 'HELP') ||
      (words.some((word) => /(^|[,o=])(help|\?)(,|$)/.test(word)) &&
        /^(Supported|Amend|Creation|List of) /.test(mine.stdout))),
  'warned-once': ({ words, bothFail, mine, other }) =>
    words[0] === 'snapshot' && bothFail && mine.stderr === withoutRepetition(other.stderr),
  'preallocated-holes': ({ words, sameWords, faults, ours, theirs }) =>
    /^(create|convert|resize)$/.test(words[0]) &&
    words.some((word) => word.includes('metadata')) &&
    sameWords &&
    faults.length === 0 &&
    sameInfo(ours, theirs),
  'rebase-other-format': ({ words, sameWords, faults }) =>
    words[0] === 'rebase' &&
    words.includes('raw') &&
    words.some((word) => word.endsWith('.qcow2') && words.indexOf(word) < words.length - 1) &&
    sameWords &&
    faults.length > 0 &&
    faults.every((fault) => fault.endsWith(': the content differs, as qemu-img reads it')),
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

/** The warning about a probed format stands there twice. */
function withoutRepetition(text: string): string {
  return text.replace(/^(WARNING: Image format was not specified.*\n(?: {9}.*\n){2})\1/, '$1');
}

/** In the place of what may be wrong. */
const RIGHT = ['a.qcow2', '1M', 'driver=raw,file.filename=a.raw', 'unused'];
/** What may be missing. */
const MISSING: Readonly<Record<string, readonly (readonly string[])[]>> = {
  rebase: [
    ['-b', 'a.qcow2'],
    ['-F', 'qcow2'],
  ],
};
/** Of more than two that do not go together, one less does not help. */
const SEVERAL = /Cannot mix/;

/** Whether qemu-img says `mine` of the same command line with one or two things less, or right: then this was one of several mistakes. */
function isSaidWithoutOne(words: readonly string[], mine: Outcome, images: Images): boolean {
  /** What was not tried yet. */
  const tried = new Set<string>();
  const fresh = (edits: Iterable<Edit>): Edit[] =>
    [...edits].filter(({ edited }) => {
      const key = JSON.stringify(edited);
      return !tried.has(key) && tried.add(key);
    });
  /** By what qemu-img says: the first edit after which it says so. A second thing is looked for only where the first was one. */
  const others = new Map<string, Edit>();
  const isSaid = (edit: Edit): boolean => {
    const said = saidAlone(edit.edited, images);
    const key = SEVERAL.test(said.stderr) ? edit.edited.join(' ') : said.stderr;
    if (said.code !== 0 && !others.has(key)) others.set(key, edit);
    return said.code === mine.code && isSame(said.stderr, replaced(mine.stderr, edit));
  };
  if (fresh([...edits(words), ...edits(withoutObjects(words))]).some(isSaid)) return true;
  const further = [...others.values()].flatMap(({ edited, replacements }) =>
    [...edits(edited)].map((edit) => ({ ...edit, replacements: [...replacements, ...edit.replacements] })),
  );
  return fresh(further).some(isSaid);
}

/** What qemu-img says, on files of its own: it removes a target that it could not make. */
function saidAlone(words: readonly string[], images: Images): Outcome {
  const folder = images.copyFor([...words, ...RIGHT]);
  try {
    return filtered(run('qemu-img', words, folder), folder);
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
  /** Words that were replaced, and by what. */
  replacements: readonly (readonly [was: string, is: string])[];
}

/** A message in which words stand for others now. */
function replaced(message: string, { replacements }: Edit): string {
  let text = message;
  for (const [was, is] of replacements)
    text = was === '' ? text.replace('qemu-img: :', `qemu-img: ${is}:`) : text.replaceAll(was, is);
  return text;
}

function* edits(words: readonly string[]): Generator<Edit> {
  const plain = (edited: string[]): Edit => ({ edited, replacements: [] });
  yield plain([...words]);
  for (const missing of MISSING[words[0]] ?? []) yield plain([words[0], ...missing, ...words.slice(1)]);
  for (let at = 1; at < words.length; at++) {
    const [before, word, after] = [words.slice(0, at), words[at], words.slice(at + 1)];
    yield plain([...before, ...after]);
    yield plain([...before, ...after.slice(1)]);
    // Alone: of several that do not go together, one less does not help.
    if (word.startsWith('-')) yield plain([words[0], word]);
    for (const right of RIGHT) yield { edited: [...before, right, ...after], replacements: [[word, right]] };
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
