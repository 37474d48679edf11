// The C library's message for each error name (strerror), which QEMU's tools print. Node's own messages differ.

import type { BlockError } from './errors.js';

const WORDS: Readonly<Record<string, string>> = {
  EACCES: 'Permission denied',
  EAGAIN: 'Resource temporarily unavailable',
  EBADF: 'Bad file descriptor',
  EBUSY: 'Device or resource busy',
  EDQUOT: 'Disk quota exceeded',
  EEXIST: 'File exists',
  EFBIG: 'File too large',
  EINVAL: 'Invalid argument',
  EIO: 'Input/output error',
  EISDIR: 'Is a directory',
  ELOOP: 'Too many levels of symbolic links',
  EMFILE: 'Too many open files',
  ENAMETOOLONG: 'File name too long',
  ENFILE: 'Too many open files in system',
  ENODEV: 'No such device',
  ENOENT: 'No such file or directory',
  ENOMEM: 'Cannot allocate memory',
  ENOSPC: 'No space left on device',
  ENOTDIR: 'Not a directory',
  ENOTSUP: 'Operation not supported',
  ENXIO: 'No such device or address',
  EOPNOTSUPP: 'Operation not supported',
  EPIPE: 'Broken pipe',
  EPERM: 'Operation not permitted',
  EROFS: 'Read-only file system',
  ESPIPE: 'Illegal seek',
  ESTALE: 'Stale file handle',
  ETXTBSY: 'Text file busy',
};

/** The message for `name`; undefined for a name that file operations do not return. */
export function wordsOfErrno(name: string): string | undefined {
  return Object.hasOwn(WORDS, name) ? WORDS[name] : undefined;
}

/** Why the system refused a request, as QEMU's tools print it: `No space left on device`. Undefined where it was not the system. */
export function systemWordsOf({ fromSystem, errno }: BlockError): string | undefined {
  return fromSystem && errno !== undefined ? wordsOfErrno(errno) : undefined;
}

/** The reason of an error, for a message that is made around it. */
export function reasonInWords(error: BlockError): string {
  return systemWordsOf(error) ?? error.reason;
}

/** The same with the file that it is about. */
export function messageInWords(error: BlockError): string {
  const words = systemWordsOf(error);
  return words === undefined ? error.message : `${error.path}: ${words}`;
}
