// What is said of an image that could not be opened to be served. qemu-nbd's words begin with the name of a function of its own.

import { PROGRAM, program } from '../output.js';

/** `reason` may name the image already. */
export function notOpened(image: string, reason: string): string {
  if (program() !== PROGRAM) return `Failed to blk_new_open '${image}': ${reason}`;
  const what = `Could not open '${image}'`;
  return reason.startsWith(`${what}: `) ? reason : `${what}: ${reason}`;
}
