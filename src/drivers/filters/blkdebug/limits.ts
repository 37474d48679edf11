// What requests to a node are cut down to: blkdebug shows how the layers above do with storage that takes no others.

import type { BlockdevOptionsBlkdebug } from '../../../schema/generated/types.js';
import { BlockError } from '../../../util/errors.js';
import { isPowerOfTwo } from '../../../util/numbers.js';

/** Bytes. */
export interface Limits {
  align: number;
  maxTransfer: number;
  optWriteZero: number;
  maxWriteZero: number;
  optDiscard: number;
  maxDiscard: number;
}

const TOO_LARGE = 2 ** 31 - 1;

/** `below` is the alignment of the node that requests go to. Throws `invalid-argument`. */
export function limitsOf(options: BlockdevOptionsBlkdebug, below: number): Limits {
  const { align = 0 } = options;
  const fail = (name: string, value: number): never => {
    const why =
      value < 0
        ? `Parameter '${name}' expects a non-negative number below 2^64`
        : `Cannot meet constraints with ${name} ${value}`;
    throw new BlockError('invalid-argument', why, { operation: 'open' });
  };
  if (align !== 0 && (align < 0 || align >= TOO_LARGE || !isPowerOfTwo(align))) fail('align', align);
  const unit = Math.max(align, below);
  /** The limit, a multiple of `of`; `none` where there is none. */
  const multiple = (name: keyof BlockdevOptionsBlkdebug, of: number, none: number): number => {
    const value = (options[name] as number | undefined) ?? 0;
    if (value < 0 || value % of !== 0) fail(name, value);
    return value === 0 ? none : value;
  };
  const maxTransfer = multiple('max-transfer', unit, Number.POSITIVE_INFINITY);
  const optWriteZero = multiple('opt-write-zero', unit, unit);
  const maxWriteZero = multiple('max-write-zero', Math.max(optWriteZero, unit), Number.POSITIVE_INFINITY);
  const optDiscard = multiple('opt-discard', unit, unit);
  const maxDiscard = multiple('max-discard', Math.max(optDiscard, unit), Number.POSITIVE_INFINITY);
  return { align: unit, maxTransfer, optWriteZero, maxWriteZero, optDiscard, maxDiscard };
}

/** Cuts [offset, end) at multiples of `most`. */
export function* cuts(offset: number, end: number, most: number): Generator<[number, number]> {
  for (let at = offset; at < end; ) {
    const next = most === Number.POSITIVE_INFINITY ? end : Math.min(end, at - (at % most) + most);
    yield [at, next];
    at = next;
  }
}
