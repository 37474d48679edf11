// Socket activation, systemd's protocol: a service manager has opened the listening socket and passes it as descriptor 3; the variables
// LISTEN_FDS (how many) and LISTEN_PID (for which process) say so.

import { UsageError } from '../getopt.js';
import { program } from '../output.js';

/** The first descriptor that a service manager passes. */
export const ACTIVATION_FD = 3;

/**
 * True where the process `pid` was given one socket. The variables are deleted from `env`, so that a child process does not take the socket for
 * its own. Throws `UsageError` where there are several sockets.
 */
export function takeActivation(env: NodeJS.ProcessEnv, pid: number): boolean {
  const { LISTEN_PID: forWhom, LISTEN_FDS: count } = env;
  if (forWhom !== String(pid) || count === undefined || !/^\d+$/.test(count) || Number(count) === 0) return false;
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete env[name];
  if (Number(count) > 1) {
    throw new UsageError(`${program()} does not support socket activation with LISTEN_FDS > 1`);
  }
  return true;
}
