// The job of `x-blockdev-amend`: it changes the key slots of an encrypted image, and stays listed until it is dismissed. It works on no device.

import { withLink } from '../block/child.js';
import type { BlockNode } from '../block/node/node.js';
import { type DriverDefinition, findDriver } from '../block/registry.js';
import { PERM_ALL } from '../block/types.js';
import type { BlockdevAmendOptions } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';
import type { JobContext, JobDriver } from './driver.js';
import type { Job } from './job.js';
import type { JobEnvironment } from './job-type.js';

type SlotChange = ReturnType<NonNullable<DriverDefinition['slotChange']>>;

class AmendDriver implements JobDriver {
  readonly type = 'amend';
  readonly isBlockJob = false;
  readonly #amend: () => Promise<void>;

  constructor(amend: () => Promise<void>) {
    this.#amend = amend;
  }

  async run({ progress }: JobContext): Promise<void> {
    progress.setTotal(1);
    try {
      await this.#amend();
    } finally {
      progress.advance(1);
    }
  }
}

/** Makes the change, if the options have one. Rejects with `invalid-argument`, and as `Abilities.keySlots`. */
async function amend(node: BlockNode, change: SlotChange, force: boolean): Promise<void> {
  if (change === undefined) return;
  const refuse = (message: string): BlockError =>
    BlockError.at(node.filename, 'invalid-argument', message, { operation: 'amend' });
  const { keySlots, details } = node.abilities;
  if (details?.().encrypted !== true) throw refuse("image is not encrypted, can't amend");
  if (keySlots === undefined || !('state' in change)) {
    throw refuse(`Amend can't be used to change the ${node.driver} encryption format`);
  }
  await keySlots({ options: change, force });
}

/**
 * Starts to change `node`. `force`: see `x-blockdev-amend`. Throws `unsupported` for a node whose driver changes nothing so, `invalid-argument` for options of another
 * driver, `read-only`, `exists`. What is wrong with the change itself is the job's error.
 */
export function startAmend(
  { manager }: JobEnvironment,
  id: string,
  node: BlockNode,
  options: BlockdevAmendOptions,
  force: boolean,
): Job {
  if (options.driver !== node.driver) {
    throw new BlockError('invalid-argument', "x-blockdev-amend doesn't support changing the block driver");
  }
  const { slotChange } = findDriver(options.driver);
  if (slotChange === undefined) {
    throw new BlockError('unsupported', 'Driver does not support x-blockdev-amend');
  }
  if (node.readOnly) {
    throw BlockError.at(node.filename, 'read-only', `node '${node.nodeName}' is read-only`, { operation: 'amend' });
  }
  const use = { user: { userName: `job '${id}'` }, role: 'root', perm: 0, shared: PERM_ALL } as const;
  const driver = new AmendDriver(() => withLink(node, use, () => amend(node, slotChange(options), force)));
  const job = manager.create({ driver, id, autoDismiss: false });
  job.start();
  return job;
}
