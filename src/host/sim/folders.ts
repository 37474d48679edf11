// The simulated host has no folders that can be opened: they are refused by name.
import { BlockError } from '../../util/errors.js';
import type { Folders } from '../host.js';

export const SIM_FOLDERS: Folders = {
  async open(path) {
    throw BlockError.at(path, 'unsupported', 'the simulated host has no folders', { operation: 'open' });
  },
};
