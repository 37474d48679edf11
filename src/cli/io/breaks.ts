// Break points: requests that come to an event of a driver's algorithm are held up. A blkdebug node below the image does that.

import type { Breakpoints } from '../../block/debug-events.js';
import { TYPES } from '../../schema/generated/table.js';
import type { BlkdebugEvent } from '../../schema/generated/types.js';
import { write } from '../output.js';
import { diskOf, type GivenWords, type IoCommand, type IoOutcome, type IoState } from './command.js';
import { answerFailed, complain } from './report.js';

const UNSUPPORTED = 'Operation not supported';
const NOT_FOUND = 'No such file or directory';

export const breakAt: IoCommand = {
  name: 'break',
  synopsis: 'event tag',
  summary: 'holds up the next request that comes to the event',
  words: [2, 2],
  run: runBreak,
};

export const removeBreak: IoCommand = {
  name: 'remove_break',
  synopsis: 'tag',
  summary: 'removes a break point; what it holds up goes on',
  words: [1, 1],
  run: runRemoveBreak,
};

export const resume: IoCommand = {
  name: 'resume',
  synopsis: 'tag',
  summary: 'lets a request go on that is held up',
  words: [1, 1],
  run: runResume,
};

export const waitBreak: IoCommand = {
  name: 'wait_break',
  synopsis: 'tag',
  summary: 'waits until a request is held up',
  words: [1, 1],
  run: runWaitBreak,
};

/** Tags of break points that nobody has come to yet, one for each. */
const expected = new WeakMap<Breakpoints, string[]>();

function runBreak(state: IoState, { operands: [event, tag] }: GivenWords): IoOutcome {
  const points = diskOf(state).breakpoints;
  if (points === null) return answerFailed(`Could not set breakpoint: ${UNSUPPORTED}`);
  if (!(TYPES.BlkdebugEvent.values as readonly string[]).includes(event)) {
    return answerFailed(`Could not set breakpoint: ${NOT_FOUND}`);
  }
  watch(points).push(tag);
  points.breakAt(event as BlkdebugEvent, tag);
  return 'done';
}

/** Says who is held up, and who goes on. Returns the tags that wait for somebody. */
function watch(points: Breakpoints): string[] {
  let tags = expected.get(points);
  if (tags !== undefined) return tags;
  const waiting: string[] = [];
  tags = waiting;
  expected.set(points, waiting);
  points.watch((tag, heldUp) => {
    write(`blkdebug: ${heldUp ? 'Suspended' : 'Resuming'} request '${tag}'\n`);
    const at = waiting.indexOf(tag);
    if (heldUp && at >= 0) waiting.splice(at, 1);
  });
  return waiting;
}

function runRemoveBreak(state: IoState, { operands: [tag] }: GivenWords): IoOutcome {
  const points = diskOf(state).breakpoints;
  if (points === null) return answerFailed(`Could not remove breakpoint ${tag}: ${UNSUPPORTED}`);
  const tags = watch(points);
  const isSet = tags.includes(tag);
  if (isSet) tags.splice(0, tags.length, ...tags.filter((one) => one !== tag));
  if (isSet || points.isHeldUp(tag)) points.removeBreak(tag);
  return isSet ? 'done' : answerFailed(`Could not remove breakpoint ${tag}: ${NOT_FOUND}`);
}

function runResume(state: IoState, { operands: [tag] }: GivenWords): IoOutcome {
  const points = diskOf(state).breakpoints;
  if (points === null) return answerFailed(`Could not resume request: ${UNSUPPORTED}`);
  if (!points.isHeldUp(tag)) return answerFailed(`Could not resume request: ${NOT_FOUND}`);
  points.resume(tag);
  return 'done';
}

async function runWaitBreak(state: IoState, { operands: [tag] }: GivenWords): Promise<IoOutcome> {
  const disk = diskOf(state);
  const points = disk.breakpoints;
  if (points?.isHeldUp(tag) === true) return 'done';
  // qemu-io waits for ever.
  if (points === null || disk.pending === 0) {
    return complain(`No request is under way that '${tag}' could hold up`);
  }
  await points.untilHeldUp(tag);
  return 'done';
}
