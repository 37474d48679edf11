// Small files that are read whole: certificates, keys.
import { BlockError } from '../util/errors.js';

export function tooLarge(path: string, limit: number): BlockError {
  return new BlockError('limit', `${path}: larger than ${limit} bytes`, { operation: 'read', path, length: limit });
}
