// The simulated host has no character devices: each is refused by name.
import { BlockError } from '../../util/errors.js';
import type { Characters } from '../character.js';

const refuse = (what: string) => (): never => {
  throw new BlockError('unsupported', `the simulated host has no ${what}`, { operation: 'open' });
};

export const SIM_CHARACTERS: Characters = {
  standard: refuse('standard input and output'),
  openFiles: refuse('character devices'),
  openPipes: refuse('pipes'),
  openTerminal: refuse('terminals'),
  openLog: refuse('logs'),
};
