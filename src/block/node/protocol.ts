// A protocol: it reaches bytes outside of the graph, in a file, a device or an export. It has no children.

import { BlockNode } from './node.js';

export abstract class ProtocolNode extends BlockNode {
  override readonly kind = 'protocol';

  /** What a protocol that reaches no file calls the place of its bytes, by whatever path it is reached; null: it has none. */
  async storageId(): Promise<string | null> {
    return null;
  }
}
