// Small files that are read whole: certificates, keys.
import { BlockError } from '../util/errors.js';

/** The error for a file of more than `limit` bytes. */
export function tooLarge(path: string, limit: number): BlockError {
  return BlockError.at(path, 'limit', `larger than ${limit} bytes`, { operation: 'read', length: limit });
}
