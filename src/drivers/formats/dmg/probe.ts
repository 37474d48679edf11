// How an image of Apple is recognised: by its name alone, with which QEMU is content; what makes it one stands at its end.

const SUFFIX = '.dmg';

export function probeDmg(_head: Uint8Array, filename: string): number {
  return filename.length > SUFFIX.length && filename.endsWith(SUFFIX) ? 2 : 0;
}
