// The options of `--chardev`, and what is wrong with them in QEMU's words.

import { checkIdentifier } from '../../block/objects/index.js';
import { TYPES } from '../../schema/generated/table.js';
import { BlockError } from '../../util/errors.js';
import { checkParameters, type ParametersOf } from './parameters.js';

/** Kinds that QEMU has, too, and why they are not here. */
const REFUSED: Readonly<Record<string, string>> = {
  udp: 'a monitor needs an ordered stream of bytes',
  serial: 'a device of the host is opened as a file',
  tty: 'a device of the host is opened as a file',
  parallel: 'a monitor needs both directions',
  mux: 'a device has one user',
};

/** Words for what is missing, by the kind of the device. */
const MISSING: Readonly<Record<string, readonly [member: string, words: string]>> = {
  file: ['path', 'no filename given'],
  pipe: ['path', 'no device path given'],
};

/** Throws `invalid-argument`, `unknown-option`, `unsupported`. */
export function checkedChardev(members: object): ParametersOf<'chardev'> {
  const known = allParameters();
  const unknown = Object.keys(members).find((name) => !known.has(name));
  if (unknown !== undefined) throw new BlockError('unknown-option', `Invalid parameter '${unknown}'`);
  const { id, backend, ...own } = members as Record<string, unknown>;
  if (typeof id !== 'string') throw invalid('chardev: no id specified');
  checkIdentifier(id);
  if (typeof backend !== 'string') throw invalid(`chardev: "${id}" missing backend`);
  if (Object.hasOwn(REFUSED, backend)) {
    throw new BlockError(
      'unsupported',
      `character devices of kind '${backend}' are not supported: ${REFUSED[backend]}`,
    );
  }
  if (!chardevKinds().includes(backend)) throw invalid(`'${backend}' is not a valid char driver name`);
  const missing = MISSING[backend];
  if (missing !== undefined && own[missing[0]] === undefined) throw invalid(`chardev: ${backend}: ${missing[1]}`);
  if (backend === 'socket' && own['host'] !== undefined && own['port'] === undefined) {
    throw invalid('chardev: socket: no port given');
  }
  return checkParameters('chardev', members);
}

/** Those of any kind. One of another kind than the device's is refused, too, in other words. */
function allParameters(): Set<string> {
  const { members, branches } = TYPES.ChardevOptions;
  const own = Object.values(branches).flatMap((name) => Object.keys(TYPES[name].members));
  return new Set([...Object.keys(members), ...own]);
}

export function chardevKinds(): readonly string[] {
  return TYPES.ChardevBackendKind.values;
}

function invalid(message: string): BlockError {
  return new BlockError('invalid-argument', message);
}
