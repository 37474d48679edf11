// The verbs of the command line. A verb's module is loaded when it is asked for.

import { meantLine } from '../util/nearest.js';
import { UsageError } from './getopt.js';
import { HELP, type ListedVerb, type Verb } from './verb.js';

export interface VerbEntry extends ListedVerb {
  /** qemu-img has it: it is a verb also where the program was called by that name. */
  ofQemuImg?: true;
}

export const VERBS: Readonly<Record<string, VerbEntry>> = {
  convert: {
    summary: 'copy an image into a new one of any format',
    ofQemuImg: true,
    load: () => import('./verbs/convert.js'),
  },
  create: {
    summary: 'create an empty image, or an overlay of another',
    ofQemuImg: true,
    load: () => import('./verbs/create.js'),
  },
  info: {
    summary: 'show format, sizes and backing file of an image',
    ofQemuImg: true,
    load: () => import('./verbs/info.js'),
  },
  map: {
    summary: 'list which parts of an image hold data, and where',
    ofQemuImg: true,
    load: () => import('./verbs/map.js'),
  },
  measure: {
    summary: 'say how large a new image would become',
    ofQemuImg: true,
    load: () => import('./verbs/measure.js'),
  },
  check: {
    summary: 'check the consistency of an image',
    ofQemuImg: true,
    load: () => import('./verbs/check.js'),
  },
  salvage: {
    summary: 'write what can be read of a damaged image into a new one',
    load: () => import('./verbs/salvage.js'),
  },
  snapshot: {
    summary: 'list, create, apply and delete internal snapshots',
    ofQemuImg: true,
    load: () => import('./verbs/snapshot.js'),
  },
  bitmap: {
    summary: 'add, remove, clear, enable, disable and merge persistent bitmaps',
    ofQemuImg: true,
    load: () => import('./verbs/bitmap.js'),
  },
  resize: { summary: 'change the size of an image', ofQemuImg: true, load: () => import('./verbs/resize.js') },
  amend: {
    summary: 'change what an image says of itself: version, size, ...',
    ofQemuImg: true,
    load: () => import('./verbs/amend.js'),
  },
  compare: { summary: 'compare the content of two images', ofQemuImg: true, load: () => import('./verbs/compare.js') },
  commit: {
    summary: 'write an overlay down into its backing file',
    ofQemuImg: true,
    load: () => import('./verbs/commit.js'),
  },
  dd: { summary: 'copy blocks of an image into a new one', ofQemuImg: true, load: () => import('./verbs/dd.js') },
  rebase: {
    summary: 'give an overlay another backing file',
    ofQemuImg: true,
    load: () => import('./verbs/rebase.js'),
  },
  stream: { summary: 'copy data from the backing files into an overlay', load: () => import('./verbs/stream.js') },
  compact: { summary: 'give the unused space of an image back', load: () => import('./verbs/compact.js') },
  mirror: { summary: 'copy an image, as a mirror job', load: () => import('./verbs/mirror.js') },
  backup: { summary: 'copy an image as it is at one moment', load: () => import('./verbs/backup.js') },
  bench: {
    summary: 'measure how fast an image is read or written',
    ofQemuImg: true,
    load: () => import('./verbs/bench.js'),
  },
  io: { summary: 'read, write and inspect an image by single requests', load: () => import('./verbs/io.js') },
  nbd: { summary: 'serve an image over NBD, or list the exports of a server', load: () => import('./verbs/nbd.js') },
  daemon: {
    summary: 'run jobs and exports in one process, controlled by QMP',
    load: () => import('./verbs/daemon.js'),
  },
  jobs: { summary: 'list, watch and steer the jobs of such a process', load: () => import('./verbs/jobs.js') },
  completion: {
    summary: 'print the completion of this command line for a shell',
    load: async () =>
      (await import('./verbs/completion.js')).completionOf({ verbs: VERBS, replaced: REPLACED_PROGRAMS }),
  },
  shims: { summary: "make scripts by the names of QEMU's programs", load: () => import('./verbs/shims.js') },
};

/**
 * Programs of QEMU that Diskwright replaces when it is called by their names (by a link), and the verb that takes their command line. qemu-img has
 * verbs of its own (`qemu-img.ts`).
 */
export const REPLACED_PROGRAMS: Readonly<Record<string, string>> = {
  'qemu-io': 'io',
  'qemu-nbd': 'nbd',
  'qemu-storage-daemon': 'daemon',
};

/** Whether a verb that opens images is Diskwright's alone, in no program of QEMU's. */
export function isOwn({ name, opensNoImage }: Verb): boolean {
  return !opensNoImage && !VERBS[name]?.ofQemuImg && !Object.values(REPLACED_PROGRAMS).includes(name);
}

/** Loads a verb. Throws `UsageError` where there is none of that name. */
export async function verbCalled(name: string): Promise<Verb> {
  if (Object.hasOwn(VERBS, name)) return (await VERBS[name].load()).verb;
  const meant = meantLine(name, [...Object.keys(VERBS), HELP]);
  throw new UsageError(`Command not found: ${name}`, true, meant === undefined ? [] : [meant]);
}
