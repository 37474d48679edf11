// Arithmetic of sizes that every layer needs.

/** The unit in which the sizes of disks and the space of files are counted, whatever a disk's own sectors are. */
export const SECTOR_BYTES = 512;

/** `value`, or the next multiple of `unit` above it. Both are 0 or more, `unit` not 0. */
export function roundUp<T extends number>(value: T, unit: number): T {
  return (Math.ceil(value / unit) * unit) as T;
}

/** `value`, or the next multiple of `unit` below it. */
export function roundDown<T extends number>(value: T, unit: number): T {
  return (value - (value % unit)) as T;
}

/** 1, 2, 4, ... */
export function isPowerOfTwo(value: number): boolean {
  return value >= 1 && 2 ** Math.round(Math.log2(value)) === value;
}
