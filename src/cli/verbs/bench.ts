// `diskwright bench`: measures how fast an image is read or written.

import type { EngineName } from '../../host/real/index.js';
import { BlockError, toBlockError } from '../../util/errors.js';
import { INT64_MAX, parseSize } from '../../util/size.js';
import { wordsOfErrno } from '../../util/system-words.js';
import { type BenchPlan, benchNode } from '../../workspace/bench.js';
import {
  AIO_ENGINES,
  BY_SIGNAL,
  CACHE_MODES,
  type CacheMode,
  FORCE_SHARE,
  FORMAT,
  HELP,
  IMAGE_OPTS,
  NATIVE_NEEDS_DIRECT,
  oneImage,
} from '../arguments.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { reportError, write } from '../output.js';
import {
  couldNotOpen,
  Interrupt,
  imageArguments,
  openImage,
  reasonWithFile,
  refuseTwoFormats,
  withSession,
} from '../session.js';
import type { Verb } from '../verb.js';

const MAX_INT = 2 ** 31 - 1;

export const verb: Verb = {
  name: 'bench',
  synopsis:
    '[-w] [-c COUNT] [-d DEPTH] [-s BUFFER_SIZE] [-S STEP_SIZE] [-o OFFSET] [-t CACHE] [-n] [-i AIO] ' +
    '[--flush-interval=COUNT] [--no-drain] [--pattern=BYTE] [-f FMT | --image-opts] [-U] FILENAME',
  description:
    'Sends many requests of one size to an image, one after the other in steps, and says how long all of them took. Behind its end it goes on at its ' +
    'start. A request that passes the end fails, which ends the run.\n\n' +
    'With -w the image is written to: what it has there is lost.',
  options: [
    { key: 'write', short: 'w', help: 'Write, in place of reading. The content of the image is lost.' },
    { key: 'count', short: 'c', argument: 'COUNT', help: 'Requests in all (default 75000).' },
    { key: 'depth', short: 'd', argument: 'DEPTH', help: 'Requests at a time (default 64).' },
    { key: 'bytes', short: 's', argument: 'BUFFER_SIZE', help: 'Bytes of a request (default 4k).' },
    {
      key: 'step',
      short: 'S',
      argument: 'STEP_SIZE',
      help: 'Bytes from one request to the next. Default, and where it is 0: BUFFER_SIZE.',
    },
    { key: 'offset', short: 'o', argument: 'OFFSET', help: 'Where the first request is (default 0).' },
    {
      key: 'flush-interval',
      long: 'flush-interval',
      argument: 'COUNT',
      help: 'With -w: flush the image after so many writes, at least DEPTH. 0 (default): never.',
    },
    { key: 'no-drain', long: 'no-drain', help: 'Do not wait, before a flush, until all requests are answered.' },
    { key: 'pattern', long: 'pattern', argument: 'BYTE', help: 'The byte that is written, 0 to 255 (default 0).' },
    {
      key: 'cache',
      short: 't',
      argument: 'CACHE',
      values: Object.keys(CACHE_MODES),
      help: 'Cache mode of the image: none, writeback (default), writethrough, directsync or unsafe.',
    },
    {
      key: 'native',
      short: 'n',
      help: 'As "-i native", which is what is taken where both are given.',
    },
    {
      key: 'aio',
      short: 'i',
      argument: 'AIO',
      values: Object.keys(AIO_ENGINES),
      help: 'The I/O engine: threads, io_uring, or native (which needs -t none or directsync, and is done by io_uring). Default: what DISKWRIGHT_ENGINE names, otherwise io_uring where the system has it.',
    },
    FORMAT,
    IMAGE_OPTS,
    FORCE_SHARE,
    { key: 'quiet', short: 'q', help: 'Accepted as in qemu-img, and without effect.' },
    HELP,
  ],
  notes: [['Exit codes', `0    done\n1    failed\n${BY_SIGNAL}`]],
  examples: [
    ['diskwright bench -f qcow2 disk.qcow2', '75000 reads of 4 KiB, 64 at a time'],
    ['diskwright bench -c 1000 -d 8 -s 1M -t none -f qcow2 disk.qcow2', 'large reads, past the page cache'],
    [
      'diskwright bench -w -d 1 --flush-interval=1 -c 500 scratch.qcow2',
      'writes that are each flushed; scratch.qcow2 is lost',
    ],
  ],
  run,
};

interface Given extends BenchPlan {
  cache: CacheMode;
  engine: EngineName | undefined;
  native: boolean;
}

async function run(options: ParsedOptions): Promise<number> {
  const plan = planOf(options);
  const filename = oneImage(options);
  const how = imageArguments(options);
  const writes = options.has('write');
  if (!writes && plan.flushInterval > 0) throw new UsageError('--flush-interval is only available in write tests');
  if (plan.flushInterval > 0 && plan.flushInterval < plan.depth) {
    throw new UsageError("Flush interval can't be smaller than depth");
  }
  refuseTwoFormats(how);
  if (plan.native && !plan.cache.direct) throw couldNotOpen(filename, needsDirect());
  return withSession(
    [],
    async (session) => {
      const image = await openImage(session, filename, {
        ...how,
        cache: plan.cache,
        writable: writes,
        purpose: 'copy',
      });
      const step = plan.step || plan.bytes;
      const kind = writes ? 'write' : 'read';
      write(
        `Sending ${plan.count} ${kind} requests, ${plan.bytes} bytes each, ${plan.depth} in parallel ` +
          `(starting at offset ${plan.offset}, step size ${step})\n`,
      );
      if (plan.flushInterval > 0) write(`Sending flush every ${plan.flushInterval} requests\n`);
      const interrupt = new Interrupt(session);
      try {
        const pattern = writes ? plan.pattern : undefined;
        const ms = await benchNode(image, { ...plan, step, pattern, signal: interrupt.signal });
        write(`Run completed in ${(ms / 1000).toFixed(3)} seconds.\n`);
        return 0;
      } catch (error) {
        const failure = toBlockError(error);
        if (failure.code === 'cancelled') {
          reportError(`Cancelled. '${filename}' ${writes ? 'is partly overwritten' : 'was only read'}.`);
          return interrupt.cancelledCode;
        }
        reportError(
          `Failed request: ${failure.code === 'out-of-bounds' ? wordsOfErrno('EIO') : reasonWithFile(failure)}`,
        );
        return 1;
      }
    },
    plan.engine === undefined ? {} : { engine: plan.engine },
  );
}

function needsDirect(): BlockError {
  return new BlockError('invalid-argument', NATIVE_NEEDS_DIRECT, { operation: 'open' });
}

/** Checks the options in the order in which they were typed, as qemu-img does. */
function planOf(options: ParsedOptions): Given {
  const plan: Given = {
    count: 75000,
    depth: 64,
    bytes: 4096,
    step: 0,
    offset: 0,
    pattern: 0,
    flushInterval: 0,
    drain: true,
    cache: CACHE_MODES['writeback'],
    engine: undefined,
    native: false,
  };
  const take: Readonly<Record<string, (text: string) => void>> = {
    count: (text) => {
      plan.count = whole(text, 'request count');
    },
    depth: (text) => {
      plan.depth = whole(text, 'queue depth', 1);
    },
    bytes: (text) => {
      plan.bytes = size(text, 'buffer size', MAX_INT);
    },
    step: (text) => {
      plan.step = size(text, 'step_size', MAX_INT);
    },
    offset: (text) => {
      plan.offset = size(text, 'offset', INT64_MAX);
    },
    'flush-interval': (text) => {
      plan.flushInterval = whole(text, 'flush interval');
    },
    'no-drain': () => {
      plan.drain = false;
    },
    pattern: (text) => {
      plan.pattern = whole(text, 'pattern byte', 0, 255);
    },
    cache: (text) => {
      if (!Object.hasOwn(CACHE_MODES, text)) throw new UsageError('Invalid cache mode');
      plan.cache = CACHE_MODES[text];
      plan.writethrough = plan.cache.writethrough;
    },
    native: () => {
      plan.native = true;
    },
    aio: (text) => {
      if (!Object.hasOwn(AIO_ENGINES, text)) throw new UsageError(`Invalid aio option: ${text}`);
      plan.engine = AIO_ENGINES[text];
      plan.native ||= text === 'native';
    },
  };
  for (const [key, text] of options.inOrder) take[key]?.(text);
  if (plan.native) plan.engine = AIO_ENGINES['native'];
  return plan;
}

/** A whole number, also in hexadecimal or octal figures, as in C. Throws `UsageError`. */
function whole(text: string, what: string, least = 0, most = MAX_INT): number {
  const found = /^\s*\+?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9]\d*)$/.exec(text)?.[1];
  const value = found === undefined ? Number.NaN : Number(found.replace(/^0(?=[0-7])/, '0o'));
  if (value >= least && value <= most) return value;
  throw new UsageError(`Invalid ${what} specified`);
}

/** A size; one that is beyond what numbers here can say is no place in any image. Throws `UsageError`. */
function size(text: string, what: string, most: number | bigint): number {
  const value = parseSize(text);
  if (value === null) {
    throw new UsageError([
      `Invalid ${what} specified. You may use k, M, G, T, P or E suffixes for`,
      'kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.',
    ]);
  }
  if (value > most) throw new UsageError(`Invalid ${what} specified. Must be between 0 and ${most}.`);
  return Number(value);
}
