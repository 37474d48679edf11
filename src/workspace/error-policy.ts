// What becomes of a device's requests that failed: `rerror` for reads, `werror` for all others (QAPI `BlockdevOnError`).
//
//   report   the caller gets the error
//   ignore   the request succeeds
//   stop     the machine stops; the request waits until it goes on, and is tried again
//   enospc   stop where there is no space, else report
//
// In each case an event tells of it.

import type { ErrorPolicy } from '../block/device-options.js';
import type { BlockDeviceIoStatus, BlockdevOnError, BlockErrorAction, QapiEvents } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';
import { wordsOfErrno } from '../util/system-words.js';

type ErrorEvent = QapiEvents['BLOCK_IO_ERROR'];

/** `auto` is for jobs. */
export type ErrorChoice = Exclude<BlockdevOnError, 'auto'>;

/** `rerror`. Throws `invalid-argument`. */
export function choiceOnRead(word = 'report'): ErrorChoice {
  return choiceOf('read', word, ['report', 'ignore', 'stop']);
}

/** `werror`. Throws `invalid-argument`. */
export function choiceOnWrite(word = 'enospc'): ErrorChoice {
  return choiceOf('write', word, ['report', 'ignore', 'stop', 'enospc']);
}

function choiceOf(kind: 'read' | 'write', word: string, taken: readonly ErrorChoice[]): ErrorChoice {
  const found = taken.find((choice) => choice === word);
  if (found !== undefined) return found;
  throw new BlockError('invalid-argument', `'${word}' invalid ${kind} error action`);
}

export interface PolicyUser {
  /** Called before `stop`. */
  failed(event: Omit<ErrorEvent, 'device' | 'node-name'>): void;
  stop(): void;
}

export class DevicePolicy implements ErrorPolicy {
  readonly #onRead: ErrorChoice;
  readonly #onWrite: ErrorChoice;
  readonly #user: PolicyUser;
  #status: BlockDeviceIoStatus = 'ok';

  constructor(onRead: ErrorChoice, onWrite: ErrorChoice, user: PolicyUser) {
    this.#onRead = onRead;
    this.#onWrite = onWrite;
    this.#user = user;
  }

  /** What the device stopped at; undefined where it stops at nothing. */
  get ioStatus(): BlockDeviceIoStatus | undefined {
    return this.#onRead === 'stop' || this.#onWrite === 'stop' || this.#onWrite === 'enospc' ? this.#status : undefined;
  }

  /** It goes on. */
  reset(): void {
    this.#status = 'ok';
  }

  failed(isRead: boolean, error: BlockError): BlockErrorAction {
    const noSpace = error.code === 'no-space';
    const wanted = isRead ? this.#onRead : this.#onWrite;
    const action = wanted !== 'enospc' ? wanted : noSpace ? 'stop' : 'report';
    // The first error counts.
    if (action === 'stop' && this.#status === 'ok') this.#status = noSpace ? 'nospace' : 'failed';
    this.#user.failed({
      operation: isRead ? 'read' : 'write',
      action,
      ...(this.ioStatus !== undefined && { nospace: noSpace }),
      reason: reasonOf(error),
    });
    if (action === 'stop') this.#user.stop();
    return action;
  }
}

/** For people. */
function reasonOf({ errno, code, reason }: BlockError): string {
  const words = wordsOfErrno(errno ?? (code === 'no-space' ? 'ENOSPC' : ''));
  return words ?? reason.split('\n', 1)[0];
}
