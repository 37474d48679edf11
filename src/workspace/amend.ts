// Amends an image that is open: what it says of itself, its size, and its passwords.

import type { Abilities, PreparedAmend } from '../block/abilities.js';
import { skipFilters } from '../block/chain.js';
import type { BlockNode } from '../block/node/node.js';
import type { QCryptoBlockAmendOptionsLUKS } from '../schema/generated/types.js';
import { validate } from '../schema/validate.js';
import { BlockError } from '../util/errors.js';
import { resizeNode } from './resize.js';

/** What is to be changed, by the names of QAPI; each format has its own. */
export interface AmendOptions {
  /** Bytes. */
  size?: number;
  /** A change of the key slots of an encrypted image. */
  encrypt?: unknown;
  [name: string]: unknown;
}

export interface AmendSettings {
  /** The last key slot is erased, and one that is in use overwritten. */
  force?: boolean;
  /** Gets how much is done. */
  progress?: (done: number, total: number) => void;
  /** Sets the size, for a user who does not let others do that. */
  resize?: (size: number) => Promise<void>;
}

/**
 * Changes what the image `root` says of itself. All options are checked before anything is touched. Rejects with
 * `unsupported` where the format has nothing to amend, `invalid-argument`, `not-found` and `permission` for a password, `busy` where a job works on the image,
 * `read-only`, `no-space`, `io`: then the image is as before, or some of the changes are made.
 */
export async function amendImage(
  root: BlockNode,
  { encrypt, ...others }: AmendOptions,
  { force = false, progress = () => undefined, resize = (size) => resizeNode(root, size) }: AmendSettings = {},
): Promise<void> {
  const node = skipFilters(root);
  const { graph, driver } = node;
  const { amend, keySlots } = node.abilities;
  const [other] = Object.keys(others);
  if (amend === undefined && (keySlots === undefined || other !== undefined)) {
    throw refuse(node, 'unsupported', `Format driver '${driver}' does not support option amendment`);
  }
  const slots = encrypt === undefined ? null : { change: keySlotsOf(node), options: slotOptions(encrypt) };
  node.checkBlockers();
  const prepare = async (): Promise<PreparedAmend | null> => (other === undefined ? null : amend!.prepare(others));
  const prepared = await graph.drained([node], async () => {
    let plan: PreparedAmend | null = null;
    const checked = async (): Promise<void> => {
      plan = await prepare();
    };
    if (slots === null) await checked();
    else await slots.change({ options: slots.options, force, checked });
    const made = plan as PreparedAmend | null;
    await made?.before(progress);
    return made;
  });
  if (others.size !== undefined && others.size !== node.length) await resize(others.size);
  if (prepared !== null) await graph.drained([node], () => prepared.after(progress));
}

function keySlotsOf(node: BlockNode): NonNullable<Abilities['keySlots']> {
  const { keySlots, details } = node.abilities;
  if (details?.().encrypted !== true) {
    throw refuse(node, 'invalid-argument', "Can't amend encryption options - encryption not present");
  }
  if (keySlots !== undefined) return keySlots;
  throw refuse(node, 'invalid-argument', 'Only LUKS encryption options can be amended');
}

function slotOptions(encrypt: unknown): QCryptoBlockAmendOptionsLUKS {
  return validate('QCryptoBlockAmendOptionsLUKS', encrypt);
}

function refuse({ filename }: BlockNode, code: 'unsupported' | 'invalid-argument', message: string): BlockError {
  return BlockError.at(filename, code, message, { operation: 'amend' });
}
