// The one error class of the project, and which of its codes an error of the system becomes.
import { reportUnexpected } from './diagnostics.js';

/**
 * Stable codes: programs and tests rely on these, never on the message.
 *
 * - `not-found`: no such file, node, job, bitmap
 * - `device-not-found`: no such device, where QMP has a class of its own for that
 * - `not-active`: no job works on that device
 * - `exists`: a file, node or bitmap of that name exists
 * - `permission`: the operating system or a node's permissions forbid it
 * - `locked`: another process (or node) holds a conflicting image lock
 * - `read-only`: a write to what was opened read-only
 * - `invalid-argument`: an option, offset, size or name that is not valid
 * - `unknown-option`: an option that does not exist
 * - `unsupported`: known, but not available here (feature bit, file system, driver)
 * - `invalid-image`: the file does not hold what its format demands
 * - `corrupt-image`: metadata contradicts itself; the image has been, or is, marked corrupt
 * - `limit`: a size, count or depth beyond the stated limit
 * - `out-of-bounds`: a request beyond the end of the node
 * - `io`: the device failed (EIO, and every system error without a code of its own)
 * - `no-space`: ENOSPC, EDQUOT, EFBIG
 * - `busy`: in use: node attached, bitmap busy, drained
 * - `bad-state`: the job (or node) is not in a state that allows this
 * - `refused`: another program refused what it was asked for; the reason is its text
 * - `cancelled`: the caller cancelled it
 * - `closed`: used after close
 * - `loop`: a backing chain that leads back to itself
 * - `misaligned`: O_DIRECT alignment that cannot be met
 * - `internal`: our own mistake
 */
export type BlockErrorCode =
  | 'not-found'
  | 'device-not-found'
  | 'not-active'
  | 'exists'
  | 'permission'
  | 'locked'
  | 'read-only'
  | 'invalid-argument'
  | 'unknown-option'
  | 'unsupported'
  | 'invalid-image'
  | 'corrupt-image'
  | 'limit'
  | 'out-of-bounds'
  | 'io'
  | 'no-space'
  | 'busy'
  | 'bad-state'
  | 'refused'
  | 'cancelled'
  | 'closed'
  | 'loop'
  | 'misaligned'
  | 'internal';

export interface BlockErrorInfo {
  /** File (or node, where there is no file) that the error is about. */
  path?: string;
  /** Byte offset of the failed request in `path`. */
  offset?: number;
  /** Where a copy or a comparison failed: start of the range that it was working on, in bytes of the guest's disk. */
  guestOffset?: number;
  /** Byte length of the failed request. */
  length?: number;
  /** What was being done: `read`, `open`, `fdatasync`, `allocate`, ... */
  operation?: string;
  /** System error name, e.g. `ENOSPC`. */
  errno?: string;
  /** The operating system refused a request, and the reason says no more than which request and which system error. */
  fromSystem?: boolean;
  /** Class of the error that a QMP server answered: `GenericError`, `CommandNotFound`, `DeviceNotFound`, ... */
  qmpClass?: string;
  /** A further line for a person: what may have been meant (`Did you mean 'qcow2'?`), or what to do. */
  hint?: string;
  cause?: unknown;
}

/**
 * Every failure of this library. `code` is stable; `message` is for people.
 *
 * - `BlockError.at(path, code, reason)` has the message `path: reason`. To print the file's name elsewhere, use `path` and `reason`.
 * - `new BlockError(code, reason)` has the message `reason`, which itself names what the error is about, if anything.
 */
export class BlockError extends Error {
  override readonly name = 'BlockError';
  readonly code: BlockErrorCode;
  /** What went wrong: the message, without the path in front of it. */
  readonly reason: string;
  // `declare`: a field that is not known is no member of the object, so that a printed error shows only the known ones.
  /** The operating system refused a request; `errno` says why. */
  declare readonly fromSystem?: boolean;
  declare readonly path?: string;
  declare readonly offset?: number;
  declare readonly guestOffset?: number;
  declare readonly length?: number;
  declare readonly operation?: string;
  declare readonly errno?: string;
  /** Class of the error that a QMP server answered. */
  declare readonly qmpClass?: string;
  /** A further line for a person: what may have been meant, or what to do. */
  declare readonly hint?: string;

  /** `message`: only for an error whose message is more than its reason, see `at`. */
  constructor(code: BlockErrorCode, reason: string, info: BlockErrorInfo = {}, message = reason) {
    super(message, info.cause === undefined ? undefined : { cause: info.cause });
    this.code = code;
    this.reason = reason;
    if (info.fromSystem) this.fromSystem = true;
    if (info.path !== undefined) this.path = info.path;
    if (info.offset !== undefined) this.offset = info.offset;
    if (info.guestOffset !== undefined) this.guestOffset = info.guestOffset;
    if (info.length !== undefined) this.length = info.length;
    if (info.operation !== undefined) this.operation = info.operation;
    if (info.errno !== undefined) this.errno = info.errno;
    if (info.qmpClass !== undefined) this.qmpClass = info.qmpClass;
    if (info.hint !== undefined) this.hint = info.hint;
  }

  /** An error of the file (or node) at `path`: its message is `path: reason`. */
  static at(path: string, code: BlockErrorCode, reason: string, info: BlockErrorInfo = {}): BlockError {
    return new BlockError(code, reason, { ...info, path }, `${path}: ${reason}`);
  }

  /** The same failure under another code, or with more about it; this error is its cause. */
  as(code: BlockErrorCode, more: BlockErrorInfo = {}): BlockError {
    const { reason, path, offset, guestOffset, length, operation, errno, fromSystem, qmpClass, hint, message } = this;
    const kept = { path, offset, guestOffset, length, operation, errno, fromSystem, qmpClass, hint };
    const info = { ...kept, cause: this, ...more };
    return new BlockError(code, reason, info, message);
  }
}

const MAX_CAUSES = 10;

/** `error` and what it comes from, the innermost last, as far as these are errors of this class. */
export function* errorsOf(error: unknown): Generator<BlockError> {
  let link = error;
  for (let depth = 0; depth < MAX_CAUSES && link instanceof BlockError; depth++) {
    yield link;
    link = link.cause;
  }
}

/** The error with the guest's offset, where it has none yet. It is a new object, since several requests may have failed with the same error. */
export function atGuestOffset(error: BlockError, guestOffset: number | undefined): BlockError {
  if (guestOffset === undefined || error.guestOffset !== undefined || error.code === 'cancelled') return error;
  return error.as(error.code, { guestOffset });
}

/** Error names of the system that have a code of their own; every other one is `io`. */
const CODE_OF_ERRNO: Readonly<Record<string, BlockErrorCode>> = {
  ENOENT: 'not-found',
  ENOTDIR: 'not-found',
  EEXIST: 'exists',
  EACCES: 'permission',
  EPERM: 'permission',
  EROFS: 'read-only',
  EISDIR: 'invalid-argument',
  EINVAL: 'invalid-argument',
  ENOSPC: 'no-space',
  EDQUOT: 'no-space',
  EFBIG: 'no-space',
  EBUSY: 'busy',
  EAGAIN: 'locked',
  ENOTSUP: 'unsupported',
  EOPNOTSUPP: 'unsupported',
  ENOSYS: 'unsupported',
  ENOTTY: 'unsupported',
  ECANCELED: 'cancelled',
  EBADF: 'closed',
  EMFILE: 'limit',
  ENFILE: 'limit',
  ENOMEM: 'limit',
  ELOOP: 'loop',
};

/** The code of a system error, by its name (`ENOSPC`). */
export function codeOfErrno(errno: string): BlockErrorCode {
  return CODE_OF_ERRNO[errno] ?? 'io';
}

/**
 * Wraps whatever was thrown, so that callers see one class. A `BlockError` is returned as it is. Anything that is neither a `BlockError` nor an
 * error of the system is a mistake of Diskwright's: it becomes `internal`, and is reported.
 */
export function toBlockError(error: unknown, info: BlockErrorInfo = {}): BlockError {
  if (error instanceof BlockError) return error;
  if (error instanceof Error) {
    const errno = (error as NodeJS.ErrnoException).code;
    if (typeof errno === 'string' && /^E[A-Z0-9]+$/.test(errno)) {
      return new BlockError(codeOfErrno(errno), error.message, { errno, cause: error, ...info });
    }
    reportUnexpected(info.operation ?? 'request', error);
    return new BlockError('internal', error.message, { cause: error, ...info });
  }
  reportUnexpected(info.operation ?? 'request', error);
  return new BlockError('internal', String(error), info);
}
