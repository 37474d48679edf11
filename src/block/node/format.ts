// A format: structure over the bytes of its file. What the header of an image says of its backing file is here; a format without
// backing files leaves it as it is.

import type { HostFile } from '../../host/host.js';
import { bestEffort } from '../../util/best-effort.js';
import { BlockError } from '../../util/errors.js';
import { skipFilters } from '../chain.js';
import type { Child } from '../child.js';
import type { OpenRequest } from '../registry.js';
import { BACKING_FIXED, type Permissions, ROLES } from '../roles.js';
import { PERM_ALL, Perm } from '../types.js';
import { BlockNode } from './node.js';

export abstract class FormatNode extends BlockNode {
  override readonly kind = 'format';
  /** What the image's header says of its backing file, as it is written there; null where it names none. */
  backingFile: string | null = null;
  backingFormat: string | null = null;

  override hostFile(): HostFile | null {
    return this.primary?.node.hostFile() ?? null;
  }

  /**
   * Of the file that it is stored in, a format needs what it works with itself, and what its users do with the image: what is written for them without
   * a change of what they read is written there, too.
   *
   * The backing node is to be right where a user of this node counts on what it reads. As long as all of them let others write to it, its backing node
   * may change, too: an overlay that a backup writes to may lie over the disk that is backed up. Otherwise nobody else writes below.
   */
  override needsOf(link: Child, perm: number, shared: number, readOnly: boolean): Permissions | null {
    const { forceShare } = this;
    if (!link.role.cow) {
      const own = ROLES.image.permissions({ readOnly, forceShare });
      return { perm: own.perm | perm, shared: forceShare ? own.shared : own.shared & shared };
    }
    const others = (shared & Perm.WRITE) !== 0 ? PERM_ALL : BACKING_FIXED;
    return { perm: perm & Perm.CONSISTENT_READ, shared: others | link.lent };
  }

  /**
   * Writes another backing file name and format into the header (null = none). The graph is not touched: see
   * `Graph.setBacking`. Rejects as `checkBackingChange`.
   */
  async changeBackingFile(file: string | null, format: string | null): Promise<void> {
    while (this.held !== null) await this.held;
    this.checkWritable('change backing file');
    await this.tracked(this.doChangeBackingFile(file, format));
    this.backingFile = file;
    this.backingFormat = format;
  }

  /**
   * Throws what `changeBackingFile` would reject with, before anything is done for it: `unsupported` where the format cannot change what its header says, `invalid-argument` where that
   * has no room for this name and format.
   */
  checkBackingChange(_file: string | null, _format: string | null): void {
    throw BlockError.at(this.filename, 'unsupported', `driver '${this.driver}' does not support another backing file`);
  }

  protected async doChangeBackingFile(file: string | null, format: string | null): Promise<void> {
    this.checkBackingChange(file, format);
  }
}

/**
 * For `open` of a format that has backing files: opens the one that the options or the header of `image` name, if any, and links it. Where it
 * rejects, `image` is closed.
 */
export async function openBacking(request: Pick<OpenRequest, 'openChild'>, image: FormatNode): Promise<void> {
  try {
    const { backingFile: filename, backingFormat: format } = image;
    const backing = await request.openChild('backing', { image, filename, format }, 'cow');
    if (backing !== null) image.setChild('backing', backing, 'cow');
  } catch (error) {
    // Best effort: what the caller must learn is why it could not be opened.
    await image.close().catch(bestEffort('closing after a failed open'));
    throw error;
  }
}

/** The format that `node` is, or filters; null where it is none. */
export function formatOf(node: BlockNode): FormatNode | null {
  const image = skipFilters(node);
  return image instanceof FormatNode ? image : null;
}

/** The same for who has to write to its header. Throws `unsupported`. */
export function needFormat(node: BlockNode): FormatNode {
  const format = formatOf(node);
  if (format !== null) return format;
  throw BlockError.at(node.filename, 'unsupported', `driver '${node.driver}' does not support backing files`);
}

/** The name of the backing file in the header of `node`, as it is written there; null where there is none. */
export function backingFileOf(node: BlockNode): string | null {
  return formatOf(node)?.backingFile ?? null;
}
