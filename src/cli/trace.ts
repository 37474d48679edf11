// `--trace` of QEMU's programs.

import { UsageError } from './getopt.js';
import { reportWarning } from './output.js';

/** There are no trace events here, so that a name is unknown, and a pattern fits none. Throws `UsageError`. */
export function checkTrace(text: string): void {
  const patterns: string[] = [];
  for (const [index, part] of text.split(',').entries()) {
    const [key, value] = part.includes('=') ? part.split('=', 2) : ['enable', part];
    if (key === 'events' || key === 'file') throw new UsageError(`'${key}' of --trace is not supported`);
    if (key !== 'enable' || (index > 0 && !part.includes('='))) throw new UsageError(`Invalid parameter '${key}'`);
    patterns.push(value);
  }
  for (const name of patterns) {
    if (name !== 'help' && !/[*?]/.test(name)) reportWarning(`warning: trace event '${name}' does not exist`);
  }
}
