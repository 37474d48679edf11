// What `help` in the place of an option's argument prints: the kinds of objects and of character devices, and the properties of an object.

import { helpPage, objectHelp } from '../object-help.js';
import { chardevKinds } from './chardev-options.js';

/** Null: no help is asked for. */
export function optionHelp(key: string, text: string): string | null {
  if (key === 'object') return objectHelp(text);
  return key === 'chardev' && text === 'help' ? helpPage('Available chardev backend types: ', chardevKinds()) : null;
}
