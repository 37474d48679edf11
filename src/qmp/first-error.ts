// Errors of the first names (`--compat first-names`): the classes that their schema promised, each with `data`, as QMP 0.1 has it.

import { type BlockErrorCode, toBlockError } from '../util/errors.js';
import { type QmpError, qmpErrorOf } from './error.js';

/** Whatever a command of the first names rejected with; `args` are its arguments as they were given. */
export function firstErrorOf(thrown: unknown, args: unknown): QmpError {
  const { code } = toBlockError(thrown, { operation: 'qmp' });
  const { class: modern, desc } = qmpErrorOf(thrown);
  const { device, base } = args as { device?: unknown; base?: unknown };
  const about = CLASSES[code];
  if (about === undefined) return { class: modern, desc, data: {} };
  const data = { device: { device }, base: { base }, nothing: {} }[about.data];
  return { class: about.class, desc, data };
}

const CLASSES: { readonly [K in BlockErrorCode]?: { class: QmpError['class']; data: 'device' | 'base' | 'nothing' } } =
  {
    'device-not-found': { class: 'DeviceNotFound', data: 'device' },
    'not-active': { class: 'DeviceNotActive', data: 'device' },
    busy: { class: 'DeviceInUse', data: 'device' },
    exists: { class: 'DeviceInUse', data: 'device' },
    unsupported: { class: 'NotSupported', data: 'nothing' },
    // All else that is named is a device.
    'not-found': { class: 'BaseNotFound', data: 'base' },
  };
