// What a differencing image says of its parent: a list of keys and values, in UTF-16. The offsets count from its begin.
//
//   | kind | count | key, value | key, value | ... | texts |
//
//   parent_linkage, parent_linkage2   the GUID of the parent's content, as {XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX}
//   relative_path                     a path of Windows, from the image's folder     .\base.vhdx
//   volume_path                       \\?\Volume{...}\vms\base.vhdx: the file of that name in the image's folder
//   absolute_win32_path               \\?\C:\vms\base.vhdx: the same

import { viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { UUID_BYTES } from '../../../util/uuid.js';
import { fromWindows } from '../../windows-path.js';
import { getGuid } from './guid.js';
import type { Range, ReadBytes } from './header.js';

const KIND = 'b7ef4ab09ed1814ab78925b8e9445913';
const COUNT_OFFSET = 18;
const FIRST_ENTRY = 20;
const ENTRY_BYTES = 12;
const EntryField = { keyOffset: 0, valueOffset: 4, keyBytes: 8, valueBytes: 10 } as const;
/** A path of Windows has 64 KiB at most, and there are few. */
const MAX_LOCATOR_BYTES = 1 << 20;
/** No key that is looked for is longer. */
const MAX_KEY_BYTES = 64;
const LINKAGES = ['parent_linkage', 'parent_linkage2'] as const;
const PATHS = ['relative_path', 'volume_path', 'absolute_win32_path'] as const;
const KEYS: readonly string[] = [...LINKAGES, ...PATHS];

export interface ParentLocator {
  /** GUIDs, one of which the parent's content has, as `getGuid` gives them. */
  linkages: readonly string[];
  /** The parent's name as a path, relative to the image's folder; null where nothing can be followed. */
  name: string | null;
}

/** Rejects with `invalid-image`, `unsupported`, and as `read`. */
export async function readParentLocator(read: ReadBytes, place: Range | null, path: string): Promise<ParentLocator> {
  const invalid = (reason: string): BlockError => BlockError.at(path, 'invalid-image', reason, { operation: 'open' });
  if (place === null) throw invalid('The differencing image does not say what its parent is');
  const length = place[1] - place[0];
  if (length < FIRST_ENTRY || length > MAX_LOCATOR_BYTES) throw invalid(`The parent locator has ${length} bytes`);
  const bytes = Buffer.alloc(length);
  await read(place[0], bytes);
  const kind = getGuid(bytes, 0);
  if (kind !== KIND) {
    throw BlockError.at(path, 'unsupported', `The parent locator is of a kind that is not known: ${kind}`, {
      operation: 'open',
    });
  }
  const view = viewOf(bytes);
  const placeOf = (offset: number, textBytes: number): Range => {
    if (offset + textBytes > length) throw invalid('The parent locator does not lie within its place');
    return [offset, offset + textBytes];
  };
  const count = view.getUint16(COUNT_OFFSET, true);
  if (FIRST_ENTRY + count * ENTRY_BYTES > length) throw invalid('The parent locator does not lie within its place');
  // Many entries may say that they lie in one place: of what nobody looks for, no text is made.
  const values = new Map<string, Range>();
  for (let i = 0; i < count; i++) {
    const at = FIRST_ENTRY + i * ENTRY_BYTES;
    const keyBytes = view.getUint16(at + EntryField.keyBytes, true);
    const key = placeOf(view.getUint32(at + EntryField.keyOffset, true), keyBytes);
    const valueBytes = view.getUint16(at + EntryField.valueBytes, true);
    const value = placeOf(view.getUint32(at + EntryField.valueOffset, true), valueBytes);
    if (keyBytes > MAX_KEY_BYTES) continue;
    const name = bytes.toString('utf16le', ...key);
    if (KEYS.includes(name)) values.set(name, value);
  }
  const text = (key: string): string => {
    const value = values.get(key);
    return value === undefined ? '' : bytes.toString('utf16le', ...value);
  };
  const linkages = LINKAGES.flatMap((key) => guidOf(text(key)) ?? []);
  if (linkages.length === 0) throw invalid('The parent locator has no GUID of the parent');
  let name: string | null = null;
  for (const key of PATHS) name ??= fromWindows(text(key));
  return { linkages, name };
}

/** As `getGuid`; null where the text is none. */
function guidOf(text: string): string | null {
  const match = /^\{?([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})\}?\0?$/i.exec(text);
  if (match === null) return null;
  const [first, second, third] = match.slice(1, 4).map((digits) => Buffer.from(digits, 'hex').reverse());
  const bytes = Buffer.concat([first, second, third, Buffer.from(match[4] + match[5], 'hex')], UUID_BYTES);
  return getGuid(bytes, 0);
}

/** As people write it. */
export function guidText(guid: string): string {
  const bytes = Buffer.from(guid, 'hex');
  const reversed = (from: number, to: number): string =>
    Buffer.from(bytes.subarray(from, to)).reverse().toString('hex');
  const parts = [
    reversed(0, 4),
    reversed(4, 6),
    reversed(6, 8),
    bytes.toString('hex', 8, 10),
    bytes.toString('hex', 10),
  ];
  return parts.join('-');
}
