// An image that was probed as raw must not become one of another format: if a guest could write the header of, say, a qcow2 image to the first
// sector, the next probe would open an image that the guest made up, with a backing file of the guest's choice. So each write to the first sector
// is tried on a copy, and refused where the copy would be probed as another format.

import type { BlockNode } from '../../../block/node/node.js';
import { PROBE_BYTES, probeFormat } from '../../../block/probe.js';
import { BlockError } from '../../../util/errors.js';
import { Serial } from '../../../util/serial.js';

export class FirstSectorGuard {
  readonly #node: BlockNode;
  readonly #read: (head: Uint8Array) => Promise<void>;
  /** Changes run one at a time, since two changes of different parts of the sector, each harmless, could make a header together. */
  readonly #changes = new Serial();

  /** `read` fills its buffer with the first bytes of the node. */
  constructor(node: BlockNode, read: (head: Uint8Array) => Promise<void>) {
    this.#node = node;
    this.#read = read;
  }

  /** True for a write at `offset` that must go through `change`. */
  covers(offset: number): boolean {
    return offset < PROBE_BYTES;
  }

  /** Runs `write` if the first sector, with the change that `edit` makes to a copy of it, is still probed as raw. Rejects with `permission` otherwise. */
  change(edit: (head: Uint8Array) => void, write: () => Promise<void>): Promise<void> {
    return this.#changes.run(async () => {
      const head = new Uint8Array(Math.min(PROBE_BYTES, this.#node.length));
      if (head.length > 0) await this.#read(head);
      edit(head);
      const { filename } = this.#node;
      const format = probeFormat(head, filename);
      if (format !== 'raw') {
        throw BlockError.at(
          filename,
          'permission',
          `write to the first sector refused: it would make the image look like '${format}', and that it is raw was only guessed`,
          { operation: 'write', offset: 0, length: head.length, errno: 'EPERM' },
        );
      }
      await write();
    });
  }
}
