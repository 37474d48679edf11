// What several copies of the same bytes say: those that are alike form one group, and the largest group wins.

export interface Copy {
  readonly bytes: Uint8Array;
}

/** The groups of equal copies, the largest first; of two that are as large, the one whose first copy comes first. */
export function votesOf<T extends Copy>(copies: readonly T[]): T[][] {
  const groups: T[][] = [];
  for (const copy of copies) {
    const group = groups.find(([first]) => Buffer.compare(first.bytes, copy.bytes) === 0);
    if (group === undefined) groups.push([copy]);
    else group.push(copy);
  }
  return groups.sort((a, b) => b.length - a.length);
}

/** Index of the first byte in which `one` and `other`, of the same length, differ; -1 where they do not. */
export function firstDifference(one: Uint8Array, other: Uint8Array): number {
  return Buffer.compare(one, other) === 0 ? -1 : one.findIndex((byte, index) => byte !== other[index]);
}
