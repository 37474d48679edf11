// The internal snapshot that a command line names: `ID`, or `NAME`, or `snapshot.id=ID,snapshot.name=NAME`.

import { type SnapshotKey, snapshotCalled } from '../block/internal-snapshots.js';
import type { BlockNode } from '../block/node/node.js';
import { showSnapshot as show } from '../block/snapshots-of.js';
import { flatten, parseKeyval } from '../schema/keyval.js';
import { BlockError, toBlockError } from '../util/errors.js';
import { UsageError } from './getopt.js';
import { reasonOf } from './session.js';

const PREFIX = 'snapshot.';

/** A word that may be an ID or a name, or both as they are called. */
export type SnapshotParam = string | SnapshotKey;

/** What `param` names. Throws `UsageError`; `quote` begins the parameter in its message. */
export function snapshotParam(param: string, quote: "'" | '`' = "'"): SnapshotParam {
  if (!param.startsWith(PREFIX)) return param;
  const key: SnapshotKey = {};
  for (const [name, value] of flatten(parseKeyval(param))) {
    if (name === 'snapshot.id') key.id = String(value);
    else if (name === 'snapshot.name') key.name = String(value);
    else throw new UsageError([`Invalid parameter '${name}'`, `Failed in parsing snapshot param ${quote}${param}'`]);
  }
  return key;
}

/** Shows the snapshot that `param` names in place of the disk of `node`, which was just opened. Rejects in qemu-img's words. */
export async function showSnapshot(node: BlockNode, param: SnapshotParam): Promise<void> {
  const key = typeof param === 'string' ? called(node, param) : param;
  try {
    await show(node, key);
  } catch (error) {
    const failure = toBlockError(error);
    throw new BlockError(failure.code, `Failed to load snapshot: ${reasonOf(failure)}`, {
      operation: 'open',
      cause: error,
    });
  }
}

/** An ID counts before a name. What is neither is looked for by its ID. */
function called(node: BlockNode, idOrName: string): SnapshotKey {
  return { id: snapshotCalled(node.abilities.snapshots?.list() ?? [], idOrName)?.id ?? idOrName };
}
