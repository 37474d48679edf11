// Small files that are read whole: certificates, keys.
import { BlockError } from '../util/errors.js';

export function tooLarge(path: string, limit: number): BlockError {
  return BlockError.at(path, 'limit', `larger than ${limit} bytes`, { operation: 'read', length: limit });
}
