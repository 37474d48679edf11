// Character devices, and the ring buffers among them.

import { TYPES } from '../../schema/generated/table.js';
import { BlockError } from '../../util/errors.js';
import type { Failed } from '../chardev/chardevs.js';
import { settingsOfBackend } from '../chardev/settings.js';
import type { CommandTable } from '../command.js';

/** Only these are checked, as in QEMU: what is no group of four at the end is left out. */
const BASE64 = /^[A-Za-z0-9+/=\n]*$/;

function notAdded(id: string): Failed {
  return (cause) => new BlockError(cause.code, `Failed to add chardev '${id}': ${cause.reason}`, { cause });
}

/** Throws `invalid-argument`. */
function bytesOf(data: string, format: 'utf8' | 'base64'): Buffer {
  if (format === 'utf8') return Buffer.from(data);
  if (!BASE64.test(data)) throw new BlockError('invalid-argument', 'Base64 data contains invalid characters');
  const digits = data.replaceAll('\n', '');
  return Buffer.from(digits.slice(0, digits.length - (digits.length % 4)), 'base64');
}

export const CHARDEV_COMMANDS = {
  'query-chardev': ({ chardevs }) => chardevs.list(),
  'query-chardev-backends': () => TYPES.ChardevBackendKind.values.map((name) => ({ name })),

  'chardev-add': ({ chardevs }, { id, backend }) => chardevs.add(id, () => settingsOfBackend(backend), notAdded(id)),

  'chardev-change': ({ chardevs }, { id, backend }) =>
    chardevs.change(id, () => settingsOfBackend(backend), notAdded(id)),

  'chardev-remove': ({ chardevs }, { id }) => chardevs.remove(id),
  'chardev-send-break': ({ chardevs }, { id }) => chardevs.sendBreak(id),

  'ringbuf-write'({ chardevs }, { device, data, format = 'utf8' }) {
    chardevs.ringbuf(device).write(bytesOf(data, format));
  },

  'ringbuf-read'({ chardevs }, { device, size, format = 'utf8' }) {
    const ring = chardevs.ringbuf(device);
    if (size <= 0) throw new BlockError('invalid-argument', 'size must be greater than zero');
    return ring.read(size).toString(format);
  },
} satisfies Partial<CommandTable>;
