// How a growing image of Bochs is recognised.

import { hasMagic, latin1 } from '../../../util/magic.js';

const VERSIONS = ['\0\0\x01\0', '\0\0\x02\0'];

export function probeBochs(head: Uint8Array): number {
  const isGrowing =
    field(head, 0, 32) === 'Bochs Virtual HD Image' &&
    field(head, 32, 16) === 'Redolog' &&
    field(head, 48, 16) === 'Growing';
  return isGrowing && VERSIONS.some((version) => hasMagic(head, version, 64)) ? 100 : 0;
}

/** Text up to its first zero. */
function field(head: Uint8Array, at: number, length: number): string {
  return latin1(head, at, length).split('\0', 1)[0]!;
}
