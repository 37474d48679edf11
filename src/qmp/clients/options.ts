// What the clients of a monitor are made with, whatever they are connected by.

import type { LogFile } from '../../host/character.js';
import type { SessionOptions } from '../session.js';

export interface ClientOptions extends SessionOptions {
  /** Gets all that is sent; null: there is none. */
  log: LogFile | null;
}
