// The C library's message for each error name (strerror), which QEMU's tools print. Node's own messages differ.

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
