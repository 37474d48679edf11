// Zeroes that are not written as data by a copy.

/** Runs of so many zero bytes are found, where nothing else is asked for (qemu-img `-S`). */
export const DEFAULT_SPARSE_BYTES = 4096;
