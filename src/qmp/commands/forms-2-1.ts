// The forms that commands had in 2.1 (`--compat 2.1`), where these differ from today's, and a command that is no more. What they do is what those of today do; but of a device that is
// not there, the class tells: DeviceNotFound.

import type { TransactionAction } from '../../schema/generated/types.js';
import { BlockError } from '../../util/errors.js';
import { requestOfDevice } from '../../workspace/device-options.js';
import type { Caller, CommandTable } from '../command.js';
import type { QmpContext } from '../context.js';
import { findNodeOf } from '../find.js';
import { COPY_COMMANDS, checkDevice } from './copy.js';
import { GRAPH_COMMANDS } from './graph.js';
import { TRANSACTION_COMMANDS } from './transaction.js';

/** `command`, after its device was looked for. */
function ofDevice<A extends { device?: string }, R>(command: (context: QmpContext, args: A) => R) {
  return (context: QmpContext, args: A, _caller: Caller): R => {
    if (args.device !== undefined) checkDevice(context, args.device);
    return command(context, args);
  };
}

/** The device of an action that 2.1 has; null for one that it does not have, undefined for one without device. */
function deviceOfAction({ type, data }: TransactionAction): string | null | undefined {
  if (type === 'abort') return undefined;
  return type === 'blockdev-snapshot-sync' || type === 'drive-backup' ? data.device : null;
}

export const FORMS_OF_2_1 = {
  async 'blockdev-add-2-1'({ drives }, { options }) {
    await drives.add(requestOfDevice(options));
  },

  block_passwd(context, { device, 'node-name': name }) {
    if (device !== undefined) checkDevice(context, device);
    const { nodeName } = findNodeOf(context, device, name);
    const what = device === undefined ? `Node '${nodeName}'` : `Device '${device}'`;
    throw new BlockError('bad-state', `${what} is not encrypted`);
  },

  'block-stream-2-1': ofDevice(COPY_COMMANDS['block-stream']),
  'drive-mirror-2-1': ofDevice(COPY_COMMANDS['drive-mirror']),
  'drive-backup-2-1': ofDevice(COPY_COMMANDS['drive-backup']),
  'block-resize-2-1': ofDevice(GRAPH_COMMANDS.block_resize),
  'blockdev-snapshot-sync-2-1': ofDevice(GRAPH_COMMANDS['blockdev-snapshot-sync']),
  'change-backing-file-2-1': ofDevice(GRAPH_COMMANDS['change-backing-file']),

  async 'transaction-2-1'(context, args) {
    const devices = args.actions.map(deviceOfAction);
    if (!devices.includes(null)) for (const device of devices) if (device != null) checkDevice(context, device);
    await TRANSACTION_COMMANDS.transaction(context, args);
  },
} satisfies Partial<CommandTable>;
