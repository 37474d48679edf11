// A protocol: it reaches bytes outside of the graph, in a file, a device or an export. It has no children.

import type { Abilities } from '../abilities.js';
import { BlockNode } from './node.js';

export abstract class ProtocolNode extends BlockNode {
  override readonly kind = 'protocol';

  /** Nothing more is to be said of plain bytes. */
  override get abilities(): Abilities {
    return { details: () => ({}) };
  }

  /** What a protocol that reaches no file calls the place of its bytes, by whatever path it is reached; null: it has none. */
  async storageId(): Promise<string | null> {
    return null;
  }
}
