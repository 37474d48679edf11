// What a node is opened with: its own options over what it inherits from the node above.

import type { LooseOptions } from '../schema/loose-options.js';
import { BlockError } from '../util/errors.js';
import type { Referrer } from './gate.js';
import type { BlockNode } from './node/node.js';
import type { SalvageOrder } from './registry.js';
import type { InheritedOptions } from './roles.js';

export interface NodeSettings extends InheritedOptions {
  /** Images that are read meanwhile: the image's own file must be none of theirs. */
  apartFrom: readonly BlockNode[];
  /** The image whose header says what is opened; null where the user does. */
  referrer: Referrer | null;
  nodeName?: string;
  /** What the image refers to is opened, too. */
  backing: boolean;
  /** Nothing is read of the disk, nor of what lies below it. */
  onlyHeader: boolean;
  /** The image, and nothing below it, is opened to be repaired. */
  forRepair: boolean;
  /** The same, to be salvaged; null: not. */
  salvage: SalvageOrder | null;
  /** Files (device and inode) of the overlays above. */
  above: readonly string[];
}

/** Throws `invalid-argument`. */
export function settle(options: ReturnType<LooseOptions['general']>, inherited: NodeSettings): NodeSettings {
  const nodeName = options['node-name'] ?? inherited.nodeName;
  const settings = { ...inherited, ...settleInherited(options, inherited), nodeName };
  if (nodeName !== undefined) checkNodeName(nodeName);
  return settings;
}

/** The options that children inherit: a node's own, over those of the node above. Throws `invalid-argument`. */
export function settleInherited(
  options: ReturnType<LooseOptions['general']>,
  inherited: InheritedOptions,
): InheritedOptions {
  const settings: InheritedOptions = {
    readOnly: options['read-only'] ?? inherited.readOnly,
    autoReadOnly: options['auto-read-only'] ?? inherited.autoReadOnly,
    forceShare: options['force-share'] ?? inherited.forceShare,
    direct: options.cache?.direct ?? inherited.direct,
    noFlush: options.cache?.['no-flush'] ?? inherited.noFlush,
    discard: options.discard ?? inherited.discard,
    detectZeroes: options['detect-zeroes'] ?? inherited.detectZeroes,
  };
  if (settings.forceShare && !settings.readOnly) {
    throw new BlockError('invalid-argument', 'force-share=on can only be used with read-only images');
  }
  if (settings.detectZeroes === 'unmap' && settings.discard !== 'unmap') {
    throw new BlockError(
      'invalid-argument',
      'setting detect-zeroes to unmap is not allowed without setting discard operation to unmap',
    );
  }
  return settings;
}

const MAX_NAME_BYTES = 31;

/** Refuses with `invalid-argument` what cannot be the name of a node. */
export function checkNodeName(name: string): void {
  if (/^[A-Za-z][A-Za-z0-9._-]*$/.test(name)) {
    if (name.length <= MAX_NAME_BYTES) return;
    throw new BlockError('invalid-argument', 'Node name too long');
  }
  throw new BlockError('invalid-argument', `Invalid node-name: '${name}'`);
}
