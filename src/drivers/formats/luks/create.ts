// Creates a LUKS image. The header is made before any file is touched, which takes seconds, and written last: an interrupted creation leaves a file that is no
// LUKS image.
//
//   file                    | header | key material | disk |
//   file, header            | disk |       | header | key material |
//   header alone            (as it is)     | header | key material |          also: file, with detached-header

import { makeRoom, removeContent } from '../../../block/create.js';
import { type CreateOptions, SIZE_OPTION } from '../../../block/create-option.js';
import type { Graph } from '../../../block/graph.js';
import { checkImageSize } from '../../../block/image-size.js';
import type { CreateRequest } from '../../../block/registry.js';
import { missingChild } from '../../../schema/loose-options.js';
import { BlockError } from '../../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { checkPassword, withPassword } from '../encryption/password.js';
import { HEADER, makeVolume, roomFor } from './volume.js';

/** The options of `makeVolume` at a shell; `prefix` of their names, and of the members that they become; `keyHelp`: what the secret is for. */
export function encryptionOptions(prefix: string, keyHelp: string): CreateOptions['options'] {
  const option = (name: string, kind: 'str' | 'num', help: string) => ({
    name: `${prefix}${name}`,
    kind,
    help,
    member: `${prefix}${name}`,
  });
  return [
    option('cipher-alg', 'str', 'Name of encryption cipher algorithm'),
    option('cipher-mode', 'str', 'Name of encryption cipher mode'),
    option('hash-alg', 'str', 'Name of encryption hash algorithm'),
    option('iter-time', 'num', 'Time to spend in PBKDF in milliseconds'),
    option('ivgen-alg', 'str', 'Name of IV generator algorithm'),
    option('ivgen-hash-alg', 'str', 'Name of IV generator hash algorithm'),
    option('key-secret', 'str', keyHelp),
  ];
}

export const LUKS_CREATE_OPTIONS: CreateOptions = {
  options: [
    ...encryptionOptions('', 'ID of the secret that provides the keyslot passphrase').toSpliced(2, 0, {
      name: 'detached-header',
      kind: 'bool (on/off)',
      help: 'Create a detached LUKS header',
      member: 'detached-header',
    }),
    {
      name: 'preallocation',
      kind: 'str',
      help: 'Preallocation mode (allowed values: off, falloc, full)',
      member: 'preallocation',
    },
    SIZE_OPTION,
  ],
  summary: [
    ['size'],
    ['key-secret'],
    ['cipher-alg'],
    ['cipher-mode'],
    ['ivgen-alg'],
    ['ivgen-hash-alg'],
    ['hash-alg'],
    ['iter-time'],
    ['preallocation'],
    ['detached-header'],
  ],
  withoutDisk: 'detached-header',
};

type LuksOptions = CreateRequest<'luks'>['options'];

/**
 * Checks the options of a new image; the nodes that they name are checked by whoever opens them. With `graph`, also that its secret is there. Throws `invalid-argument`, `not-found`, `unsupported`,
 * `limit`.
 */
export function checkLuksCreate(options: LuksOptions, path: string, graph?: Graph): void {
  const refuse = (message: string): never => {
    throw BlockError.at(path, 'invalid-argument', message, { operation: 'create' });
  };
  const { header, size, preallocation = 'off' } = options;
  const room = roomFor(options, path);
  const isAlone = options['detached-header'] === true;
  if (isAlone && header !== undefined) refuse("'detached-header' and 'header' can't be used at the same time");
  if (isAlone && size !== 0) refuse("With 'detached-header', no disk is made that could have a size");
  checkImageSize(roundUp(size, SECTOR_BYTES) + (header === undefined ? room : 0), path, 'create');
  if (preallocation === 'metadata') refuse('Unsupported preallocation mode: metadata');
  if (isAlone && preallocation !== 'off') refuse("With 'detached-header', no disk is made that could be preallocated");
  if (graph !== undefined) checkPassword(graph, options['key-secret'], 'key-secret', path);
}

/** Makes a LUKS image in `file`, in the part that is its header, or in both. Rejects as `checkLuksCreate`, with `no-space`, `io`. */
export async function createLuks({ graph, options, file, parts }: CreateRequest<'luks'>): Promise<void> {
  const header = parts.get(HEADER) ?? null;
  const place = header ?? file;
  if (place === null) throw missingChild('file');
  const path = place.filename;
  checkLuksCreate(options, path);
  const { preallocation = 'off' } = options;
  if (file === null && preallocation !== 'off') throw missingChild('file');
  const isDetached = header !== null || options['detached-header'] === true;
  const volume = await withPassword(graph, options['key-secret'], 'key-secret', path, (password) =>
    makeVolume(graph.host.ciphers, options, password, path, isDetached),
  );
  const disk = roundUp(options.size, SECTOR_BYTES);
  for (const link of [file, header]) {
    if (link !== null) await removeContent(link);
  }
  if (header !== null && file !== null) {
    await makeRoom(file, disk, 0, { preallocation });
    await file.flush();
  }
  if (isDetached) await makeRoom(place, volume.room, volume.materialOffset);
  else await makeRoom(place, volume.room + disk, volume.materialOffset, { preallocation });
  await place.write(volume.materialOffset, volume.material);
  await place.flush();
  await place.write(0, volume.header);
  await place.flush();
}
