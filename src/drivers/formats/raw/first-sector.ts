// A raw image that was guessed to be one must stay one: if a guest could write another format's header to its first sector,
// the next guess would open what the guest made up, with a backing file of its choice.

import type { BlockNode } from '../../../block/node/node.js';
import { PROBE_BYTES, probeFormat } from '../../../block/probe.js';
import { BlockError } from '../../../util/errors.js';
import { Serial } from '../../../util/serial.js';

export class FirstSectorGuard {
  readonly #node: BlockNode;
  readonly #read: (head: Uint8Array) => Promise<void>;
  /** Two changes of parts of the sector, each harmless, could make a header together: one at a time. */
  readonly #changes = new Serial();

  /** `read` fills its buffer from the begin of the node. */
  constructor(node: BlockNode, read: (head: Uint8Array) => Promise<void>) {
    this.#node = node;
    this.#read = read;
  }

  covers(offset: number): boolean {
    return offset < PROBE_BYTES;
  }

  /** Runs `write` if the sector is still raw after `edit`. Rejects with `permission` otherwise. */
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
