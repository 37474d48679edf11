// Which jobs there are, what of them may fail, and what a policy then leads to.

import type { Json } from '../../../support/qmp.js';

export const POLICIES = ['report', 'ignore', 'stop', 'enospc', 'auto'] as const;
export type Policy = (typeof POLICIES)[number];

export const ERRORS = { EIO: 5, ENOSPC: 28 };

/** Which side's request fails, once: a read of the source, a write to the target. */
export const FAULTS = ['source', 'target'] as const;
export type Fault = (typeof FAULTS)[number];

export interface Kind {
  name: string;
  command: string;
  words: Json;
  /** It becomes ready, and is completed then. */
  isMirror: boolean;
  /** One policy (`on-error`) for both sides. */
  onePolicy: boolean;
  faults: readonly Fault[];
}

const mirror = (name: string, words: Json): Kind => ({
  name: `mirror, ${name}`,
  command: 'blockdev-mirror',
  words: { device: 'top', target: 'target', ...words },
  isMirror: true,
  onePolicy: false,
  faults: FAULTS,
});
const backup = (name: string, words: Json): Kind => ({
  name: `backup, ${name}`,
  command: 'blockdev-backup',
  words: { device: 'top', target: 'target', ...words },
  isMirror: false,
  onePolicy: false,
  faults: FAULTS,
});

export const KINDS: readonly Kind[] = [
  {
    name: 'stream',
    command: 'block-stream',
    words: { device: 'top' },
    isMirror: false,
    onePolicy: true,
    faults: FAULTS,
  },
  {
    name: 'commit',
    command: 'block-commit',
    words: { device: 'top', 'top-node': 'mid', 'base-node': 'base' },
    isMirror: false,
    onePolicy: true,
    // An image whose writes are to fail has a name that we do not write into a header.
    faults: ['source'],
  },
  {
    name: 'active commit',
    command: 'block-commit',
    words: { device: 'top', 'base-node': 'base' },
    isMirror: true,
    onePolicy: true,
    faults: FAULTS,
  },
  mirror('full', { sync: 'full' }),
  mirror('top', { sync: 'top' }),
  mirror('full, write-blocking', { sync: 'full', 'copy-mode': 'write-blocking' }),
  backup('full', { sync: 'full' }),
  backup('top', { sync: 'top' }),
];

/** They are a machine's. */
export const DRIVE_KINDS: readonly Kind[] = ['mirror', 'backup'].map((name) => ({
  name: `drive-${name}`,
  command: `drive-${name}`,
  words: { sync: 'full', format: 'raw', mode: 'existing' },
  isMirror: name === 'mirror',
  onePolicy: false,
  faults: FAULTS,
}));

export interface Case {
  kind: Kind;
  fault: Fault;
  /** Null: what it is where nothing is said. */
  policy: Policy | null;
  error: keyof typeof ERRORS;
}

export const casesOf = (kind: Kind): Case[] =>
  kind.faults.flatMap((fault) =>
    [...POLICIES, null].flatMap((policy) =>
      (Object.keys(ERRORS) as (keyof typeof ERRORS)[]).map((error) => ({ kind, fault, policy, error })),
    ),
  );

/** `null` is `report`. */
export function stops({ policy, error }: Case): boolean {
  return policy === 'stop' || ((policy === 'enospc' || policy === 'auto') && error === 'ENOSPC');
}
