// `diskwright bitmap`: changes one persistent bitmap of an image, by one or more actions in the order in which they are given. All happens in memory; the close
// stores the outcome at once.

import type { Child } from '../../block/child.js';
import { holdTarget } from '../../block/hold.js';
import type { BlockNode } from '../../block/node/node.js';
import { toBlockError } from '../../util/errors.js';
import { type BitmapChange, changeBitmap } from '../../workspace/bitmap.js';
import { BY_SIGNAL, FORMAT, HELP, IMAGE_OPTS, limitOption, OBJECT } from '../arguments.js';
import { BreakOff, leaksIn } from '../break-off.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { reportError, shown, writeMessage } from '../output.js';
import { couldNotOpen, imageArguments, ONE_BY_ONE, openImage, reasonWithFile, withSession } from '../session.js';
import type { Verb } from '../verb.js';

const ACTIONS = ['add', 'remove', 'clear', 'enable', 'disable', 'merge'] as const;
type Action = (typeof ACTIONS)[number];

export const verb: Verb = {
  name: 'bitmap',
  laterOperands: [],
  synopsis:
    '(--add | --remove | --clear | --enable | --disable | --merge SOURCE)... [-b SOURCE_FILE [-F SOURCE_FMT]] [-g GRANULARITY] ' +
    '[--image-opts | -f FMT] FILENAME BITMAP',
  description:
    'Changes the persistent dirty bitmap BITMAP of a qcow2 image: a record of which parts of the disk were written. Several actions may be given; they ' +
    'happen in their order, up to the first that fails. "diskwright info" lists the bitmaps of an image.',
  options: [
    { key: 'add', long: 'add', help: 'Create the bitmap. It records writes from now on.' },
    {
      key: 'remove',
      long: 'remove',
      help: 'Remove the bitmap. Nothing else can be done with one that is inconsistent.',
    },
    { key: 'clear', long: 'clear', help: 'Mark everything as clean.' },
    { key: 'enable', long: 'enable', help: 'Record writes from now on.' },
    { key: 'disable', long: 'disable', help: 'Record no more. What is dirty stays so.' },
    {
      key: 'merge',
      long: 'merge',
      argument: 'SOURCE',
      help: 'Mark as dirty what is dirty in the bitmap SOURCE, of the same image or of SOURCE_FILE.',
    },
    {
      key: 'source',
      short: 'b',
      long: 'source-file',
      argument: 'SOURCE_FILE',
      help: 'The image that has the bitmaps that are merged.',
    },
    { key: 'source-format', short: 'F', long: 'source-format', argument: 'SOURCE_FMT', help: 'Format of SOURCE_FILE.' },
    {
      key: 'granularity',
      short: 'g',
      long: 'granularity',
      argument: 'GRANULARITY',
      help: 'With --add: bytes that one bit stands for, a power of two from 512 to 2G. Default: a cluster, and no less than 4k; 64k where there are none.',
    },
    FORMAT,
    IMAGE_OPTS,
    HELP,
    OBJECT,
  ],
  notes: [
    ['Exit codes', `0    done\n1    failed\n${BY_SIGNAL}`],
    [
      'After Ctrl-C or a failure',
      'What the actions before the failed one have changed is stored. Where the file cannot be written, or the power goes, the bitmap is as before or as after, or ' +
        'marked as in use: such a bitmap is never taken for a right one, and can be removed.',
    ],
  ],
  examples: [
    ['diskwright bitmap --add disk.qcow2 monday', 'record from now on'],
    ['diskwright bitmap --add --merge monday --merge tuesday disk.qcow2 both', 'a new bitmap, made of two'],
    ['diskwright bitmap --merge top -b overlay.qcow2 -F qcow2 base.qcow2 all', 'take over what an overlay recorded'],
  ],
  run,
};

async function run(options: ParsedOptions): Promise<number> {
  // As in qemu-img, 0 is the default.
  const granularity = limitOption(options, 'granularity', 'granularity') ?? 0;
  const changes = changesIn(options, granularity);
  const how = imageArguments(options);
  const source = options.get('source');
  const [filename, name] = options.positional;
  let opened: BlockNode | null = null;
  const state = (): string =>
    `The bitmap of '${shown(filename)}' is as it was, as it was to be, or marked as in use, and the disk reads as before${leaksIn(opened)}`;
  const breakOff = new BreakOff(state, { inOrder: true });
  return withSession(
    options.all('object'),
    async (session) => {
      const node = await openImage(session, filename, { ...how, writable: true, backing: false });
      opened = node;
      const held = holdAs(filename, node);
      try {
        const from = { format: options.get('source-format'), backing: false };
        const sources = source === undefined ? node : await openImage(session, source, from);
        breakOff.begin();
        return changeAll(node, name, changes, sources);
      } finally {
        node.detach(held);
      }
    },
    { ...ONE_BY_ONE, breakOff },
  );
}

/** What this command does to the image must go together with what it, or others, do with it under another format. */
function holdAs(name: string, node: BlockNode): Child {
  try {
    return holdTarget(node);
  } catch (error) {
    throw couldNotOpen(name, error);
  }
}

/** The actions, in their order. Throws `UsageError` for what does not go together. */
function changesIn(options: ParsedOptions, granularity: number): BitmapChange[] {
  const changes = options.inOrder.flatMap(([key, value]) => {
    const action = ACTIONS.find((one) => one === key);
    return action === undefined ? [] : [changeOf(action, value, granularity)];
  });
  if (changes.length === 0) {
    throw new UsageError('Need at least one of --add, --remove, --clear, --enable, --disable, or --merge');
  }
  if (granularity > 0 && !options.has('add')) throw new UsageError('granularity only supported with --add');
  if (options.has('source-format') && !options.has('source')) throw new UsageError('-F only supported with -b');
  if (options.has('source') && !options.has('merge')) {
    throw new UsageError('Merge bitmap source file only supported with --merge');
  }
  if (options.positional.length !== 2) throw new UsageError('Expecting filename and bitmap name');
  return changes;
}

function changeOf(action: Action, value: string, granularity: number): BitmapChange {
  if (action === 'merge') return { action, source: value };
  return action === 'add' ? { action, granularity: granularity || undefined } : { action };
}

/** Runs the actions up to the first that fails, and returns the exit code. */
function changeAll(node: BlockNode, name: string, changes: readonly BitmapChange[], sources: BlockNode): number {
  for (const change of changes) {
    try {
      changeBitmap(node, name, change, sources);
    } catch (error) {
      const failure = toBlockError(error);
      reportError(`Operation ${change.action} on bitmap ${name} failed: ${reasonWithFile(failure)}`);
      if (failure.code === 'bad-state') writeMessage('Try block-dirty-bitmap-remove to delete this bitmap from disk');
      return 1;
    }
  }
  return 0;
}
