// The text of `-o`: `name=value,name2=value2`. `,,` in a value is a comma; a name alone means `on`, or where it begins with `no`, `off`, which is deprecated.

import { reportWarning, writeMessage } from '../output.js';

/** By the dotted names; of several values of one name the last counts. Null after a failure was reported. */
export function parseOptionText(text: string): Map<string, string> | null {
  const options = new Map<string, string>();
  for (let rest = text; rest !== ''; ) {
    const [item] = /^(?:[^,]|,,)*/.exec(rest)!;
    rest = rest.slice(item.length + 1);
    const equals = item.indexOf('=');
    if (equals >= 0) {
      options.set(item.slice(0, equals), item.slice(equals + 1).replaceAll(',,', ','));
      continue;
    }
    const isOff = item.startsWith('no') && item.length > 2;
    const [name, value] = isOff ? [item.slice(2), 'off'] : [item, 'on'];
    reportWarning(`warning: short-form boolean option '${item}' deprecated`);
    writeMessage(`Please use ${name}=${value} instead`);
    options.set(name, value);
  }
  return options;
}
