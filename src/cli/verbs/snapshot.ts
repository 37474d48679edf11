// `diskwright snapshot`: lists, creates, applies and deletes internal snapshots.

import { constants } from 'node:os';
import { findSnapshot, snapshotCalled } from '../../block/internal-snapshots.js';
import type { BlockNode } from '../../block/node/node.js';
import { applyInternalSnapshot, createInternalSnapshot, deleteInternalSnapshot } from '../../block/snapshot-changes.js';
import { type BlockError, type BlockErrorCode, toBlockError } from '../../util/errors.js';
import { wordsOfErrno } from '../../util/system-words.js';
import { BY_SIGNAL, FORCE_SHARE, HELP, IMAGE_OPTS, OBJECT, oneImage, QUIET, someImages } from '../arguments.js';
import { BreakOff, leaksIn } from '../break-off.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { reportError, shown, write } from '../output.js';
import {
  forEachImage,
  imageArguments,
  ONE_BY_ONE,
  openImage,
  reasonOf,
  reasonWithFile,
  releaseImage,
  withSession,
} from '../session.js';
import { snapshotList } from '../snapshot-list.js';
import type { Verb } from '../verb.js';

const ACTIONS = ['list', 'apply', 'create', 'delete'] as const;
type Action = (typeof ACTIONS)[number];

export const verb: Verb = {
  name: 'snapshot',
  synopsis: '[--image-opts] [-U] [-q] [-l | -a SNAPSHOT | -c SNAPSHOT | -d SNAPSHOT] FILENAME...',
  description:
    'Lists, applies, creates or deletes internal snapshots: states of a disk that are kept within its own qcow2 file. Without one of the options it lists ' +
    'them.\n\n' +
    'A snapshot is made at once, whatever the size of the disk; what is written afterwards goes to other clusters. Applying one makes the disk, with its ' +
    'size, what it was, and what was written since is lost.\n\n' +
    'Several images can be listed in one call: the name of each stands before its list. The other actions take one image.',
  options: [
    { key: 'list', short: 'l', help: 'List all snapshots (default).' },
    {
      key: 'apply',
      short: 'a',
      argument: 'SNAPSHOT',
      help: 'Make the disk what it was at the snapshot with this ID, or else this name.',
    },
    {
      key: 'create',
      short: 'c',
      argument: 'SNAPSHOT',
      help: 'Create a snapshot with this name. Several may have one name.',
    },
    { key: 'delete', short: 'd', argument: 'SNAPSHOT', help: 'Delete the (first) snapshot with this name.' },
    IMAGE_OPTS,
    FORCE_SHARE,
    QUIET,
    HELP,
    OBJECT,
  ],
  notes: [
    ['Exit codes', `0    done\n1    failed\n${BY_SIGNAL}`],
    [
      'After Ctrl-C or a failure',
      'The image is as it was, or as it was to be: the change is one write of one sector. After Ctrl-C it is done in order, where that takes less than a second. Otherwise, with -a, bitmaps that are stored in it may be marked as in use, and can only be removed then. Space may be lost: "diskwright check -r leaks" gives it back.',
    ],
  ],
  examples: [
    ['diskwright snapshot -c before-update disk.qcow2', 'keep the disk as it is now'],
    ['diskwright snapshot -l disk.qcow2 data.qcow2', 'list all of two images'],
    ['diskwright snapshot -a before-update disk.qcow2', 'go back'],
  ],
  run,
};

async function run(options: ParsedOptions): Promise<number> {
  const given = ACTIONS.filter((action) => options.has(action));
  const times = options.inOrder.filter(([key]) => ACTIONS.some((action) => action === key)).length;
  if (times > 1) throw new UsageError("Cannot mix '-l', '-a', '-c', '-d'", true);
  const [action = 'list'] = given;
  const images = action === 'list' ? someImages(options) : [oneImage(options)];
  const name = options.get(action) ?? '';
  const writable = action !== 'list';
  let opened: BlockNode | null = null;
  const bitmaps = action === 'apply' ? '; its bitmaps may be marked as in use, and can only be removed then' : '';
  // What is only read has nothing to say, and needs no listener.
  const breakOff = writable
    ? new BreakOff(() => `'${shown(images[0])}' is as it was, or as it was to be${bitmaps}${leaksIn(opened)}`, {
        inOrder: true,
      })
    : undefined;
  return withSession(
    options.all('object'),
    async (session) => {
      const how = imageArguments(options);
      const codes = await forEachImage(images, async (image, index) => {
        if (images.length > 1) write(`${index === 0 ? '' : '\n'}${shown(image)}:\n`);
        const node = await openImage(session, image, { ...how, writable, backing: false });
        opened = node;
        try {
          breakOff?.begin();
          return await ACT[action](node, name);
        } finally {
          await releaseImage(session, node);
        }
      });
      return Math.max(...codes);
    },
    { ...ONE_BY_ONE, breakOff },
  );
}

const ACT: Readonly<Record<Action, (node: BlockNode, name: string) => Promise<number>>> = {
  list: async (node) => {
    const lines = snapshotList(node.abilities.snapshots?.list() ?? []);
    if (lines.length > 0) write(`${lines.join('\n')}\n`);
    return 0;
  },

  create: async (node, name) => {
    try {
      // As qemu-img, which counts no instructions, and says so with a 0.
      await createInternalSnapshot(node, { name, icount: 0 });
      return 0;
    } catch (error) {
      return failed('create', name, numbered(toBlockError(error)));
    }
  },

  apply: async (node, name) => {
    const { snapshots } = node.abilities;
    if (snapshots === undefined) return failed('apply', name, 'Block driver does not support snapshots');
    const found = snapshotCalled(snapshots.list(), name);
    if (found === null) return failed('apply', name, 'Failed to load snapshot: No such file or directory');
    return attempt('apply', name, () => applyInternalSnapshot(node, found.id));
  },

  delete: async (node, name) => {
    const found = findSnapshot(node.abilities.snapshots?.list() ?? [], { name });
    if (found === null) return failed('delete', name, 'snapshot not found');
    return attempt('delete', name, () => deleteInternalSnapshot(node, found.id));
  },
};

async function attempt(what: Action, name: string, action: () => Promise<void>): Promise<number> {
  try {
    await action();
    return 0;
  } catch (error) {
    return failed(what, name, reasonWithFile(toBlockError(error)));
  }
}

/** The reason as qemu-img has it: the system's number for it, and its words; with the file, where it was the system. */
function numbered(error: BlockError): string {
  const name = error.errno ?? NUMBERS[error.code];
  const number = name === undefined ? undefined : constants.errno[name as keyof typeof constants.errno];
  if (number === undefined) return reasonOf(error);
  return `-${number} (${error.errno === undefined ? wordsOfErrno(name!) : reasonWithFile(error)})`;
}

/** Of failures that are not the system's. A refcount that would overflow is an invalid argument. */
const NUMBERS: Readonly<Partial<Record<BlockErrorCode, string>>> = { limit: 'EINVAL', unsupported: 'EOPNOTSUPP' };

function failed(what: Action, name: string, reason: string): number {
  reportError(`Could not ${what} snapshot '${name}': ${reason}`);
  return 1;
}
