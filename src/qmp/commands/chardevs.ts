// Character devices, and the ring buffers among them.

import { TYPES } from '../../schema/generated/table.js';
import { decodeBase64 } from '../../util/base64.js';
import { BlockError } from '../../util/errors.js';
import type { Failed } from '../chardev/chardevs.js';
import { settingsOfBackend } from '../chardev/settings.js';
import type { CommandTable } from '../command.js';

function notAdded(id: string): Failed {
  return (cause) => new BlockError(cause.code, `Failed to add chardev '${id}': ${cause.reason}`, { cause });
}

/** Throws `invalid-argument`. */
function bytesOf(data: string, format: 'utf8' | 'base64'): Buffer {
  return format === 'utf8' ? Buffer.from(data) : decodeBase64(data);
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
