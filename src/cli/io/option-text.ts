// The text of qemu-io's `-o`.

import { optionItems } from '../option-text.js';
import { reportWarning, writeMessage } from '../output.js';

/** By the dotted names; of several values of one name the last counts. A name alone is deprecated. */
export function parseOptionText(text: string): Map<string, string> {
  const options = new Map<string, string>();
  for (const { name, value, alone } of optionItems(text)) {
    if (alone !== null) {
      reportWarning(`warning: short-form boolean option '${alone}' deprecated`);
      writeMessage(`Please use ${name}=${value} instead`);
    }
    options.set(name, value);
  }
  return options;
}
