// A format that is only read: nothing here writes its images.

import { BlockError } from '../../util/errors.js';
import type { OpenRequest } from '../registry.js';
import { type Permissions, ROLES } from '../roles.js';
import type { BlockStatus } from '../types.js';
import { FormatNode } from './format.js';
import type { BlockNode, NodeOptions } from './node.js';
import type { NodeChange, PreparedReopen } from './reopening.js';

export abstract class ReadOnlyFormatNode extends FormatNode {
  /** As QEMU, which says of such a format only that there is data. */
  override blockStatusSync(_offset: number, length: number): BlockStatus {
    return { length, allocated: true, data: true, zero: false, compressed: false, offset: -1, node: null };
  }

  protected override async doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    return this.blockStatusSync(offset, length);
  }

  override async prepareReopen({ readOnly }: NodeChange): Promise<PreparedReopen | null> {
    if (readOnly === false) throw isReadOnly(this.filename);
    return null;
  }
}

/** What a node of such a format, over `file`, is made with. Throws `read-only` where it is to be written to. */
export function readOnlyUse(
  { node, autoReadOnly, use }: Pick<OpenRequest, 'node' | 'autoReadOnly' | 'use'>,
  file: BlockNode,
): { node: NodeOptions; permissions: Permissions } {
  if (!node.readOnly && !autoReadOnly) throw isReadOnly(file.filename);
  return { node: { ...node, readOnly: true }, permissions: ROLES.image.permissions({ ...use, readOnly: true }) };
}

export function isReadOnly(path: string): BlockError {
  return BlockError.at(path, 'read-only', 'Image is read-only', { operation: 'open' });
}
