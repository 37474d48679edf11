// open, close and reopen.

import { parseSwitch } from '../../util/switches.js';
import { CACHE_MODES } from '../arguments.js';
import { diskOf, type GivenWords, type IoCommand, type IoOutcome, type IoState } from './command.js';
import { checkAio, checkCache, checkDiscard, type OpenWish, wishOf } from './open-image.js';
import { parseOptionText } from './option-text.js';
import { answerFailed, complain, refuse } from './report.js';
import { misused } from './words.js';

export const open: IoCommand = {
  name: 'open',
  alias: 'o',
  synopsis: '[-rsCnkU] [-t cache] [-d discard] [-i aio] [-o options] [path]',
  summary: 'opens an image',
  details:
    'All other commands work with the image that is open.\n\nopen -n -o driver=raw /tmp/data    for reading and writing, past the page cache',
  options: {
    s: 'writes go to a temporary overlay',
    n: 'past the page cache: -t none',
    C: 'store in the image what is read from its backing files',
    r: 'read-only',
    'o:': "options of the image's driver: name=value,...",
    k: 'the same as -i native',
    'i:': { what: 'threads, native or io_uring', read: checkAio },
    't:': { what: 'cache mode: none, writeback, writethrough, directsync or unsafe', read: checkCache },
    'd:': { what: 'discards are passed on: ignore (off) or unmap (on)', read: checkDiscard },
    U: 'others may write to the image (with -r)',
  },
  words: [1, Number.POSITIVE_INFINITY],
  needsNoImage: true,
  run: runOpen,
};

async function runOpen(state: IoState, given: GivenWords, command: IoCommand): Promise<IoOutcome> {
  const merged = new Map<string, string>();
  for (const [letter, argument] of given.options) {
    if (letter !== 'o') continue;
    if (state.imageOpts) return answerFailed("Can't use 'open -o' with --image-opts: the name says all options");
    for (const [name, value] of parseOptionText(argument)) merged.set(name, value);
  }
  if (given.operands.length > 1) return misused(command);
  const wish: OpenWish = wishOf(given.options, merged);
  return (await state.open({ ...wish, path: given.operands[0], imageOpts: state.imageOpts })) ? 'done' : 'failed';
}

export const close: IoCommand = {
  name: 'close',
  alias: 'c',
  synopsis: '',
  summary: 'closes the image',
  words: [0, 0],
  run: runClose,
};

async function runClose(state: IoState): Promise<IoOutcome> {
  const disk = diskOf(state);
  state.disk = null;
  try {
    await disk.close();
    return 'done';
  } catch (error) {
    return refuse(error);
  }
}

export const reopen: IoCommand = {
  name: 'reopen',
  synopsis: '[(-r|-w)] [-c cache] [-o options]',
  summary: 'gives the open image other options',
  details:
    'What is not named stays as it is.\n\nreopen -o lazy-refcounts=on    refcounts of a qcow2 image are written late from now on',
  options: {
    'c:': { what: 'cache mode', read: checkCache },
    'o:': "options of the image's driver: name=value,...",
    r: 'read-only',
    w: 'for reading and writing',
  },
  words: [0, Number.POSITIVE_INFINITY],
  run: runReopen,
};

async function runReopen(state: IoState, given: GivenWords, command: IoCommand): Promise<IoOutcome> {
  const disk = diskOf(state);
  let readOnly: boolean | null = null;
  let changes = new Map<string, string>();
  for (const [letter, argument] of given.options) {
    if (letter === 'c') continue;
    if (letter === 'o') {
      if (changes.size > 0) return misused(command);
      changes = parseOptionText(argument);
    } else if (readOnly !== null) return complain('Only one -r/-w option may be given');
    else readOnly = letter === 'r';
  }
  if (given.operands.length > 0) return misused(command);
  if (readOnly !== null && changes.has('read-only')) return complain("Cannot set both -r/-w and 'read-only'");
  const cache = given.get('c');
  if (cache !== undefined && (changes.has('cache.direct') || changes.has('cache.no-flush'))) {
    return complain('Cannot set both -c and the cache options');
  }
  const all = new Map<string, string | boolean>(changes);
  if (readOnly !== null) all.set('read-only', readOnly);
  if (cache !== undefined) {
    all.set('cache.direct', CACHE_MODES[cache].direct).set('cache.no-flush', CACHE_MODES[cache].noFlush);
  }
  try {
    await disk.reopen(all, readOnly ?? parseSwitch(changes.get('read-only') ?? '') ?? disk.readOnly);
    if (cache !== undefined) disk.writethrough = CACHE_MODES[cache].writethrough;
    return 'done';
  } catch (error) {
    return refuse(error);
  }
}
