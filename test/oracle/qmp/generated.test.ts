// Generated commands, sent to qemu-storage-daemon and to us: the answers are equal.
//
//   DISKWRIGHT_SEED=7 npm test -- -g 'generated commands'     that seed alone; the failure shows the command and both answers
//   DISKWRIGHT_SOAK=1 ...                                     many seeds, 200 commands each

import { expect } from 'chai';
import { Random } from '../../../src/host/sim/random.js';
import { Workshop } from '../../support/cli.js';
import { requirePeer } from '../../support/peers.js';
import { seedsOf } from '../../support/sample.js';
import { CommandGenerator } from './generated/commands.js';
import { Pair } from './generated/pair.js';
import { SharedSchema, type Told } from './generated/shared-schema.js';

const COMMANDS_A_SEED = 200;
/** What would end the daemon or its monitor, or tells of the version. */
const WITHOUT = ['quit', 'qmp_capabilities', 'query-qmp-schema', 'query-commands', 'query-version'].concat(
  // Other backends, in another order, other types, and a graph whose numbers are as they come: they have tests of their own.
  ['query-chardev', 'query-chardev-backends', 'qom-list-types', 'x-debug-query-block-graph'],
);

/** Refusals of ours where the reference may do what was asked, and why. */
const STRICTER: readonly RegExp[] = [
  // We refuse what would change content that somebody reads, or replace what is in use.
  /The overlay is already in use/,
  /permissions 'write' are both required by an unnamed block device .* as 'backing' child\)/,
  /The target '.*' is (the source|'.*', which is in the backing chain)/,
  // Names are looked up before an address is bound.
  /No TLS credentials/,
  // QEMU takes gigabytes for a ring buffer.
  /a ring buffer may have/,
  // Not there yet: bitmaps are not stored.
  /Can't store persistent bitmaps to/,
  // QEMU's storage daemon has no named descriptors: what it makes of a name differs from command to command.
  /File descriptor named '.*' has not been found/,
  // QEMU reads the names of ports, and takes them for numeric.
  /Servname not supported for ai_socktype|address resolution failed for .*:nonsense: Name or service not known/,
];

/** Refusals of ours where the reference refuses, too, but finds something else first, or says it otherwise. */
const OTHERWISE: readonly RegExp[] = [
  // We refuse arguments that do not go together before a target is created, or an address is bound.
  /[Bb]itmap sync mode|valid bitmap name|Sync mode '.*' not supported|Invalid job ID|No secret with id/,
  // Where several things are wrong with images and nodes, another one is found first.
  /force-share=on can only be used|setting detect-zeroes to unmap|is missing for|Cannot find device='' nor|granularity/,
  /Backing file not supported|'reconnect' option|Cannot disable IPv4|Path '' is ambiguous|Unknown file format|Parameter 'speed'/,
  /Duplicate nodes|Cannot change the option|cannot be reset to its default|Bitmap '.*' could not be found/,
  /max-chunk|max-workers|Failed to find node with node-name|Cannot replace|Invalid node-name: '.*'/,
  // What cannot be read is refused before a file is truncated.
  /Failed to add chardev '.*': Could not open 'text'/,
  // blockdev-create makes raw images, too, which QEMU does not.
  /'options.file' is missing/,
  // A job stands in the graph under its own name; QEMU's filter of it has none there.
  /^.*Permission conflict on node .* and unshared by stream job/,
  // An object by the name that QEMU's schema has for it; QEMU knows it by another one.
  /Unable to load authorization list/,
];

/** Refusals of the reference that a newer QEMU has not: there, a disk of luks may be without a file. */
const OLDER: readonly RegExp[] = [/'options.file' is missing/];

/** We look into an image before we ask who else uses its file: where both are wrong, that is found first. */
function findsTheImage(ours: string, theirs: string): boolean {
  const isConflict = (answer: string) => answer.includes('"desc":"Permission conflict on node ');
  return isConflict(theirs) && isError(ours) && !isConflict(ours);
}

const isError = (answer: string): boolean => answer.startsWith('{"error"');

/** Whether an answer of ours that differs is one that is known. */
function isKnown(ours: string, theirs: string): boolean {
  if (isError(theirs) && OLDER.some((pattern) => pattern.test(theirs))) return true;
  if (findsTheImage(ours, theirs)) return true;
  const known = isError(theirs) ? [...STRICTER, ...OTHERWISE] : STRICTER;
  return isError(ours) && known.some((pattern) => pattern.test(ours));
}

describe('qmp against qemu-storage-daemon: generated commands', () => {
  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-img', 'qemu-io']) requirePeer(this, peer);
  });

  for (const seed of seedsOf({ fixed: 10, soak: 100 })) {
    it(`answers ${COMMANDS_A_SEED} generated commands as the reference does (seed ${seed})`, async function () {
      this.timeout(120_000);
      const found = await differences(seed);
      // As the message: chai would cut a long difference.
      if (found !== '') expect.fail(found);
    });
  }
});

/** What differs, for a person; empty where nothing does. After a difference both begin anew. */
async function differences(seed: number): Promise<string> {
  const shop = await Workshop.open();
  let starts = 0;
  const restart = () => Pair.start(shop, String(starts++));
  let pair = await restart();
  try {
    const schema = new SharedSchema((await pair.theirSchema()) as Told[], WITHOUT);
    const generator = new CommandGenerator(schema, new Random(seed));
    const found: string[] = [];
    for (let i = 0; i < COMMANDS_A_SEED; i++) {
      const message = generator.next();
      const answers = await pair.ask(message);
      if (answers === null) {
        pair.end();
        pair = await restart();
        continue;
      }
      const [theirs, ours] = answers;
      if (theirs === ours) {
        if (!isError(ours)) await pair.settle();
        continue;
      }
      if (!isKnown(ours, theirs)) {
        found.push(`${JSON.stringify(message)}\n  THEIRS ${theirs}\n  OURS   ${ours}`);
      }
      pair.end();
      pair = await restart();
    }
    return found.join('\n');
  } finally {
    pair.end();
    shop.remove();
  }
}
