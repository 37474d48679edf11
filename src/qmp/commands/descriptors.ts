// Descriptors that a client passes over its socket: named ones, for sockets, and sets, for files (`/dev/fdset/SET`).

import type { AddfdInfo, FdsetInfo } from '../../schema/generated/types.js';
import { BlockError } from '../../util/errors.js';
import type { Caller, CommandTable } from '../command.js';

/** Throws `not-found`. */
function descriptorOf(caller: Caller): number {
  const fd = caller.takeDescriptor();
  if (fd !== null) return fd;
  throw new BlockError('not-found', 'No file descriptor supplied via SCM_RIGHTS');
}

export const DESCRIPTOR_COMMANDS = {
  getfd({ graph: { host } }, { fdname }, caller) {
    const fd = descriptorOf(caller);
    if (/^\d/.test(fdname)) {
      host.passed.drop(fd);
      throw new BlockError('invalid-argument', "Parameter 'fdname' expects a name not starting with a digit");
    }
    host.passed.name(fdname, fd, caller.owner);
  },

  closefd: ({ graph: { host } }, { fdname }) => host.passed.forget(fdname),

  'add-fd'({ graph: { host } }, { 'fdset-id': id, opaque }, caller): AddfdInfo {
    const fd = descriptorOf(caller);
    if (id !== undefined && id < 0) {
      host.passed.drop(fd);
      throw new BlockError('invalid-argument', "Parameter 'fdset-id' expects a non-negative value");
    }
    return { 'fdset-id': host.passed.add(fd, id, opaque), fd };
  },

  'remove-fd': ({ graph: { host } }, { 'fdset-id': id, fd }) => host.passed.remove(id, fd),

  'query-fdsets': ({ graph: { host } }): FdsetInfo[] =>
    host.passed.sets.map(({ id, descriptors }) => ({
      'fdset-id': id,
      fds: descriptors.map(({ fd, opaque }) => ({ fd, ...(opaque !== undefined && { opaque }) })),
    })),
} satisfies Partial<CommandTable>;
