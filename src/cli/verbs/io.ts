// `diskwright io`: single requests to an image, typed or in a script. It also runs where the program is called by the name qemu-io (through a link).

import { AIO_ENGINES, BY_SIGNAL, CACHE_MODES, DISCARD_MODES, HELP, OBJECT } from '../arguments.js';
import { type ParsedOptions, PLAIN_WORDS, UsageError } from '../getopt.js';
import { allIsClosed } from '../leave.js';
import { PROGRAM, program, write } from '../output.js';
import { withSession } from '../session.js';
import type { Verb } from '../verb.js';

export const verb: Verb = {
  name: 'io',
  synopsis: '[-f FMT | --image-opts] [-c COMMAND]... [options] [FILENAME]',
  description:
    'Reads, writes, discards and inspects an image by single requests, to try out what it does. The command line and the commands are those of qemu-io; a link ' +
    'named qemu-io to this program is a replacement for it.\n\n' +
    'Commands come from -c, each of which has one, or from standard input, one a line. `help` lists them; "help NAME" explains one. All are run, also after one that ' +
    'failed.',
  options: [
    { key: 'cmd', short: 'c', long: 'cmd', argument: 'COMMAND', help: 'Run this command. May be given several times.' },
    {
      key: 'format',
      short: 'f',
      long: 'format',
      argument: 'FMT',
      help: ({ all }) => `Format of the image: ${all}. Without it the image is probed.`,
    },
    {
      key: 'image-opts',
      long: 'image-opts',
      help: 'FILENAME, and the name that `open` is given, are strings of options: driver=qcow2,file.filename=a.qcow2. Excludes -f.',
    },
    { key: 'read-only', short: 'r', long: 'read-only', help: 'Open the image read-only.' },
    {
      key: 'snapshot',
      short: 's',
      long: 'snapshot',
      help: 'Writes go to a temporary overlay (in TMPDIR, else /var/tmp) that is deleted at the end.',
    },
    {
      key: 'copy-on-read',
      short: 'C',
      long: 'copy-on-read',
      help: 'What is read from backing files is stored in the image, too.',
    },
    {
      key: 'cache',
      short: 't',
      long: 'cache',
      argument: 'MODE',
      values: Object.keys(CACHE_MODES),
      help: 'none, writeback (default), writethrough, directsync or unsafe.',
    },
    { key: 'nocache', short: 'n', long: 'nocache', help: 'The same as -t none.' },
    {
      key: 'discard',
      short: 'd',
      long: 'discard',
      argument: 'MODE',
      values: Object.keys(DISCARD_MODES),
      help: 'Discards are passed on: unmap (default; or on), or ignore (or off).',
    },
    {
      key: 'aio',
      short: 'i',
      long: 'aio',
      argument: 'MODE',
      values: Object.keys(AIO_ENGINES),
      help: 'threads, io_uring or native (which needs -t none or directsync, and is done by io_uring). Default: io_uring where the system has it.',
    },
    { key: 'native-aio', short: 'k', long: 'native-aio', help: 'The same as -i native.' },
    {
      key: 'misalign',
      short: 'm',
      long: 'misalign',
      help: 'Buffers of requests are not aligned in memory.',
    },
    {
      key: 'force-share',
      short: 'U',
      long: 'force-share',
      help: 'With -r: read an image that another process writes to. What is read may be inconsistent.',
    },
    OBJECT,
    {
      key: 'trace',
      short: 'T',
      long: 'trace',
      argument: 'PATTERN',
      help: 'Taken, and without effect: there are no trace events.',
    },
    { key: 'version', short: 'V', long: 'version', help: 'Show the version and exit.' },
    HELP,
  ],
  words: PLAIN_WORDS,
  peer: 'qemu-io',
  notes: [['Exit codes', `0    all commands have succeeded\n1    one has failed\n${BY_SIGNAL}`]],
  examples: [
    ['diskwright io -r -f qcow2 -c map -c length disk.qcow2', 'what the image itself has allocated, and its size'],
    ['diskwright io -s -f qcow2 disk.qcow2', 'commands are typed, or come from a pipe; what they write is thrown away'],
    ['diskwright io -c help', 'lists the commands'],
  ],
  run,
};

/** Options of the command line that `open` has by the same letters. */
const LETTERS: Readonly<Record<string, string>> = {
  'read-only': 'r',
  snapshot: 's',
  'copy-on-read': 'C',
  cache: 't',
  nocache: 'n',
  discard: 'd',
  aio: 'i',
  'native-aio': 'k',
  'force-share': 'U',
};

/** Requests that are under way at the same time. */
const SLOTS = 64;

async function run(options: ParsedOptions): Promise<number> {
  if (options.has('version')) {
    const { followedVersion, versionText } = await import('../version.js');
    write(program() === PROGRAM ? await versionText() : followedVersion(program()));
    return 0;
  }
  for (const text of options.all('trace')) (await import('../trace.js')).checkTrace(text);
  const [{ checkAio, checkCache, checkDiscard, wishOf }, { runIo }] = await Promise.all([
    import('../io/open-image.js'),
    import('../io/run.js'),
  ]);
  const letters = options.inOrder.flatMap(([key, value]) =>
    Object.hasOwn(LETTERS, key) ? [[LETTERS[key], value] as const] : [],
  );
  const checks = { cache: checkCache, discard: checkDiscard, aio: checkAio };
  for (const [key, value] of options.inOrder) {
    if (Object.hasOwn(checks, key) && checks[key as keyof typeof checks](value) === null) return 1;
  }
  const wish = wishOf(letters, new Map());
  const [path, extra] = options.positional;
  if (extra !== undefined) throw new UsageError(`Unexpected argument: ${extra}`, true);
  const imageOpts = options.has('image-opts');
  const format = options.get('format');
  if (imageOpts && format !== undefined) throw new UsageError('--image-opts and -f are mutually exclusive');
  const commands = options.all('cmd');
  const code = await withSession(
    options.all('object'),
    (session) =>
      runIo(session, {
        image: path === undefined ? null : { ...wish, path, format, imageOpts },
        commands,
        misaligned: options.has('misalign'),
        imageOpts,
      }),
    { engine: wish.aio === null ? undefined : AIO_ENGINES[wish.aio], opens: true, slots: SLOTS },
  );
  // What a signal broke off may still be under way, and a prompt has changed the terminal.
  if (commands.length > 0 && code <= 1) allIsClosed();
  return code;
}
