// Socket activation: a service manager has opened the socket already and hands it over as descriptor 3, which two variables say.

import { UsageError } from '../getopt.js';
import { program } from '../output.js';

/** The first descriptor that a service manager hands over. */
export const ACTIVATION_FD = 3;

/**
 * True where the process `pid` was given one socket. The variables are taken away: a child must not think that it was meant. Throws
 * `UsageError` where there are several.
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
