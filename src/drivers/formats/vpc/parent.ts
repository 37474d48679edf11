// Where the parent of a differencing image is said to be: in up to eight locators, each for one system, and by a name in the header. The first one of these that can be
// followed here is taken:
//
//   W2ru   a path of Windows, from the image's folder     .\base.vhd
//   MacX   a URL                                          file:///vms/base.vhd, and Xen's file://./base.vhd
//   W2ku   a path of Windows from its root                C:\vms\base.vhd: the file of that name in the image's folder
//   the name in the header                                the same
//
// The Mac OS alias (`Mac `) and the two forms that the specification has withdrawn (`Wi2r`, `Wi2k`) say nothing here.

import type { Child } from '../../../block/child.js';
import { getBe32, getBe64 } from '../../../util/bytes.js';
import { latin1 } from '../../../util/magic.js';
import { asPath, fromWindows, upToNul } from '../../windows-path.js';
import { HEADER_BYTES, HeaderField } from './header.js';

const LOCATORS = 8;
const LOCATOR_BYTES = 24;
const LocatorField = { code: 0, length: 8, offset: 16 } as const;
/** No path of Windows is longer. */
const MAX_LOCATOR_BYTES = 64 << 10;
const NAME_BYTES = 512;

const READERS: readonly (readonly [code: string, read: (data: Buffer) => string | null])[] = [
  ['W2ru', (data) => fromWindows(data.toString('utf16le'))],
  ['MacX', (data) => fromUrl(data.toString('utf8'))],
  ['W2ku', (data) => fromWindows(data.toString('utf16le'))],
];

/** The name of the parent as a path, relative to the image's folder or absolute; null where nothing can be followed. Rejects with `io`. */
export async function readParentName(file: Child, header: Uint8Array): Promise<string | null> {
  for (const [code, read] of READERS) {
    for (let i = 0; i < LOCATORS; i++) {
      const at = HeaderField.locators + i * LOCATOR_BYTES;
      if (header.length < HEADER_BYTES || latin1(header, at + LocatorField.code, 4) !== code) continue;
      const data = await readLocator(
        file,
        getBe64(header, at + LocatorField.offset),
        getBe32(header, at + LocatorField.length),
      );
      const name = data === null ? null : read(data);
      if (name !== null) return name;
    }
  }
  const name = Buffer.from(header.subarray(HeaderField.parentName, HeaderField.parentName + NAME_BYTES));
  return fromWindows(name.swap16().toString('utf16le'));
}

async function readLocator(file: Child, offset: number, length: number): Promise<Buffer | null> {
  if (length === 0 || length > MAX_LOCATOR_BYTES || offset + length > file.length) return null;
  const data = Buffer.alloc(length);
  await file.read(offset, data);
  return data;
}

function fromUrl(text: string): string | null {
  const match = /^file:\/\/(?:localhost(?=\/))?(.*)$/s.exec(upToNul(text));
  if (match === null) return null;
  try {
    return asPath(decodeURIComponent(match[1]));
  } catch {
    // A percent sign that begins no escape: the path was never encoded.
    return asPath(match[1]);
  }
}
