// The old spelling of options of ssh: `host`, `port` and `host_key_check` in place of `server` and `host-key-check`.

import type { Nested } from '../../../schema/keyval.js';
import { BlockError } from '../../../util/errors.js';
import { parseCheck, SSH_DEFAULT_PORT } from './name.js';

/** Replaces them; where both are given, the old ones count, as in QEMU. Throws `invalid-argument`. */
export function withSshServer(nested: { [key: string]: Nested }): { [key: string]: Nested } {
  const { host, port, host_key_check: check, ...others } = nested;
  if (host === undefined && port !== undefined) throw invalid('port may not be used without host');
  return {
    ...others,
    ...(host !== undefined && { server: { host, port: port === undefined ? SSH_DEFAULT_PORT : String(port) } }),
    ...(typeof check === 'string' && { 'host-key-check': { ...parseCheck(check) } }),
  };
}

function invalid(message: string): BlockError {
  return new BlockError('invalid-argument', message);
}
