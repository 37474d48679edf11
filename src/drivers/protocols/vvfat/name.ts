// File names of folders that are shown as disks: `fat:`, then what kind of disk it is, then the folder.
//
//   fat:DIR   fat:32:DIR   fat:floppy:DIR   fat:12:floppy:rw:DIR

import type { BlockdevOptionsVVFAT } from '../../../schema/generated/types.js';
import { BlockError } from '../../../util/errors.js';

type NamedFolder = BlockdevOptionsVVFAT & { driver: 'vvfat' };

/** Throws `invalid-argument`. */
export function parseFatName(filename: string): NamedFolder {
  if (!filename.startsWith('fat:')) {
    throw new BlockError('invalid-argument', "File name string must start with 'fat:'", { path: filename });
  }
  const options: NamedFolder = { driver: 'vvfat', dir: '', 'fat-type': 0, floppy: false, rw: false };
  let rest = filename.slice('fat:'.length);
  for (;;) {
    const word = /^(12|16|32|floppy|rw):/.exec(rest)?.[1];
    if (word === undefined) break;
    rest = rest.slice(word.length + 1);
    if (word === 'floppy') options.floppy = true;
    else if (word === 'rw') options.rw = true;
    else if (options['fat-type'] !== 0 && options['fat-type'] !== Number(word)) {
      throw new BlockError('invalid-argument', `'${filename}' names two FAT types`, { path: filename });
    } else options['fat-type'] = Number(word);
  }
  if (rest === '') throw new BlockError('invalid-argument', `'${filename}' names no folder`, { path: filename });
  if (rest.includes('\0')) throw new BlockError('invalid-argument', 'A file name cannot contain a zero byte');
  options.dir = rest;
  return options;
}
