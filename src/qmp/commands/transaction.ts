// `transaction`: the actions by their names in the schema, each as the command of its name does it alone.

import { bitmapNode } from '../../block/find-bitmap.js';
import type { BlockNode } from '../../block/node/node.js';
import { backupJob } from '../../jobs/backup.js';
import { beginJobs } from '../../jobs/start.js';
import { JobTransaction } from '../../jobs/transaction.js';
import type { TransactionAction } from '../../schema/generated/types.js';
import { BlockError } from '../../util/errors.js';
import {
  addingBitmap,
  changingBitmap,
  mergingBitmaps,
  puttingOverlay,
  removingBitmap,
  startingJobs,
  takingInternalSnapshot,
  takingSnapshot,
} from '../../workspace/actions.js';
import { beginBackups } from '../../workspace/backup.js';
import { type Action, type Prepared, runTransaction } from '../../workspace/transaction.js';
import type { CommandTable } from '../command.js';
import type { QmpContext } from '../context.js';
import { findNode } from '../find.js';
import { mergeSources, namedBitmap, newBitmapOf } from './bitmaps.js';
import { copyArguments, driveBackup, driveJobs } from './copy.js';
import { overlayPair, snapshotRequest } from './graph.js';
import { keeping, nodeToKeep } from './internal-snapshots.js';

type Kind = TransactionAction['type'];
type Data<K extends Kind> = Extract<TransactionAction, { type: K }>['data'];

/** An action of the schema. */
interface ActionType<K extends Kind> {
  /** It can be part of a transaction whose jobs end together. */
  grouped?: boolean;
  /** Names of the nodes that it is about. */
  nodes(data: Data<K>): readonly (string | undefined)[];
  prepare(context: QmpContext, data: Data<K>, jobs: JobTransaction): Prepared | Promise<Prepared>;
}

const ofNode = ({ node }: { node: string }) => [node];

const ACTIONS: { [K in Kind]: ActionType<K> } = {
  abort: {
    grouped: true,
    nodes: () => [],
    prepare: () => {
      throw new BlockError('cancelled', 'Transaction aborted using Abort action');
    },
  },

  'block-dirty-bitmap-add': {
    nodes: ofNode,
    prepare: (context, data) => addingBitmap(findNode(context, data.node), data.name, newBitmapOf(data)),
  },
  'block-dirty-bitmap-remove': {
    nodes: ofNode,
    prepare: (context, { node, name }) => removingBitmap(bitmapNode(context.graph, node), name),
  },
  'block-dirty-bitmap-clear': {
    nodes: ofNode,
    prepare: (context, data) => changingBitmap(namedBitmap(context, data), (bitmap) => bitmap.clear()),
  },
  'block-dirty-bitmap-enable': {
    nodes: ofNode,
    prepare: (context, data) => changingBitmap(namedBitmap(context, data), (bitmap) => bitmap.enable()),
  },
  'block-dirty-bitmap-disable': {
    nodes: ofNode,
    prepare: (context, data) => changingBitmap(namedBitmap(context, data), (bitmap) => bitmap.disable()),
  },
  'block-dirty-bitmap-merge': {
    nodes: ({ node, bitmaps }) => [node, ...bitmaps.map((one) => (typeof one === 'string' ? node : one.node))],
    prepare: (context, data) =>
      mergingBitmaps(namedBitmap(context, { node: data.node, name: data.target }), mergeSources(context, data)),
  },

  'blockdev-backup': {
    grouped: true,
    nodes: ({ device }) => [device],
    prepare: async (context, data, jobs) =>
      startingJobs(await beginJobs(context.jobs, backupJob, [copyArguments(context, data)], jobs)),
  },

  'drive-backup': {
    grouped: true,
    nodes: ({ device }) => [device],
    prepare: async (context, data, jobs) =>
      startingJobs(await beginBackups(driveJobs(context), [driveBackup(context, data)], jobs)),
  },

  'blockdev-snapshot': {
    nodes: ofNode,
    prepare: (context, data) => puttingOverlay(context.graph, overlayPair(context, data)),
  },
  'blockdev-snapshot-internal-sync': {
    nodes: ({ device }) => [device],
    prepare: (context, data) => {
      const node = nodeToKeep(context, data);
      return keeping(data, () => takingInternalSnapshot(node, data.name));
    },
  },
  'blockdev-snapshot-sync': {
    nodes: (data) => [data['node-name'] ?? data.device],
    prepare: (context, data) => takingSnapshot(context.graph, snapshotRequest(context, data)),
  },
};

function actionOf<K extends Kind>(context: QmpContext, type: K, data: Data<K>, jobs: JobTransaction): Action {
  const action: ActionType<K> = ACTIONS[type];
  const known = action.nodes(data).map((name) => context.graph.lookUp(name ?? ''));
  return {
    nodes: known.filter((node): node is BlockNode => node !== undefined),
    prepare: () => {
      if (jobs.mode === 'grouped' && action.grouped !== true) {
        const message = `Action '${type}' does not support Transaction property completion-mode = grouped`;
        throw new BlockError('unsupported', message);
      }
      return action.prepare(context, data, jobs);
    },
  };
}

export const TRANSACTION_COMMANDS = {
  async transaction(context, { actions, properties }) {
    const jobs = new JobTransaction(properties?.['completion-mode'] ?? 'individual');
    await runTransaction(
      context.graph,
      actions.map(({ type, data }) => actionOf(context, type, data as Data<Kind>, jobs)),
    );
  },
} satisfies Partial<CommandTable>;
