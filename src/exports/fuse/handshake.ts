// INIT: what this program and the kernel agree on before the first request for the file.

import { constants } from 'node:os';
import { FUSE_MAX_IO_BYTES } from '../../host/fuse.js';
import { Body, FUSE_MAJOR, FUSE_MINOR, InitFlag, InitOut, LEAST_FUSE_MINOR } from '../../wire/fuse/constants.js';
import type { Answers } from './answers.js';

/** Asynchronous requests that the kernel sends before it waits for answers. */
const MAX_BACKGROUND = 64;
const PAGE_BYTES = 4096;
const FLAGS =
  InitFlag.asyncRead |
  InitFlag.atomicOTrunc |
  InitFlag.bigWrites |
  InitFlag.autoInvalData |
  InitFlag.asyncDio |
  InitFlag.maxPages;

/** Answers the INIT at `at`. */
export function answerInit(answers: Answers, slot: number, view: DataView, at: number): void {
  const major = view.getUint32(at + Body.initMajor, true);
  const minor = view.getUint32(at + Body.initMinor, true);
  if (major < FUSE_MAJOR || (major === FUSE_MAJOR && minor < LEAST_FUSE_MINOR)) {
    answers.failed(slot, constants.errno.EPROTO);
    return;
  }
  const flags = view.getUint32(at + Body.initFlags, true) & FLAGS;
  const body = answers.done(slot, InitOut.bytes);
  const answer = answers.view;
  answer.setUint32(body + InitOut.major, FUSE_MAJOR, true);
  answer.setUint32(body + InitOut.minor, FUSE_MINOR, true);
  // A newer kernel asks once more, by our version.
  if (major > FUSE_MAJOR) return;
  answer.setUint32(body + InitOut.readahead, view.getUint32(at + Body.initReadahead, true), true);
  answer.setUint32(body + InitOut.flags, flags, true);
  answer.setUint16(body + InitOut.maxBackground, MAX_BACKGROUND, true);
  answer.setUint16(body + InitOut.congestion, (MAX_BACKGROUND * 3) / 4, true);
  answer.setUint32(body + InitOut.maxWrite, FUSE_MAX_IO_BYTES, true);
  answer.setUint32(body + InitOut.timeGranularity, 1, true);
  answer.setUint16(body + InitOut.maxPages, FUSE_MAX_IO_BYTES / PAGE_BYTES, true);
}
