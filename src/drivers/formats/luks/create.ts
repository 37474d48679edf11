// Creates a LUKS image. The header is made before the file is touched, which takes seconds, and written last: an interrupted creation leaves a file that is no
// LUKS image.

import { fileOf } from '../../../block/chain.js';
import { makeRoom } from '../../../block/create.js';
import { type CreateOptions, SIZE_OPTION } from '../../../block/create-option.js';
import type { Graph } from '../../../block/graph.js';
import { checkImageSize } from '../../../block/image-size.js';
import type { CreateRequest } from '../../../block/registry.js';
import { missingChild } from '../../../schema/loose-options.js';
import { BlockError } from '../../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { makeVolume, roomFor } from './volume.js';

/** The options of `makeVolume` at a shell; `prefix` of their names, and of the members that they become. */
export function encryptionOptions(prefix: string): CreateOptions['options'] {
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
    option('key-secret', 'str', 'ID of the secret that provides the keyslot passphrase'),
  ];
}

export const LUKS_CREATE_OPTIONS: CreateOptions = {
  options: [
    ...encryptionOptions(''),
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
  ],
};

type LuksOptions = CreateRequest<'luks'>['options'];

/** Checks the options of a new image; with `graph`, also that its secret is there. Throws `invalid-argument`, `not-found`, `unsupported`, `limit`. */
export function checkLuksCreate(options: LuksOptions, path: string, graph?: Graph): void {
  const room = roomFor(options, path);
  checkImageSize(roundUp(options.size, SECTOR_BYTES) + room, path, 'create');
  if (options.preallocation === 'metadata') {
    throw BlockError.at(path, 'invalid-argument', 'Unsupported preallocation mode: metadata', { operation: 'create' });
  }
  if (graph !== undefined) passwordOf(graph, options['key-secret'], 'key-secret', path);
}

/** The password that the option `member` names. Throws `invalid-argument` where it is left out, `not-found` where there is no such secret. */
export function passwordOf(graph: Graph, id: string | undefined, member: string, path: string): Uint8Array {
  if (id !== undefined) return graph.objects.secret(id);
  throw BlockError.at(path, 'invalid-argument', `Parameter '${member}' is required for cipher`);
}

/** Makes a LUKS image in `file`. Rejects as `checkLuksCreate`, with `no-space`, `io`. */
export async function createLuks({ graph, options, file }: CreateRequest<'luks'>): Promise<void> {
  if (file === null) throw missingChild('file');
  const path = file.filename;
  checkLuksCreate(options, path);
  const password = passwordOf(graph, options['key-secret'], 'key-secret', path);
  const volume = await makeVolume(graph.host.ciphers, options, password, path);
  if (fileOf(file.node) === null && !file.node.fixedSize) await file.truncate(0);
  const end = volume.room + roundUp(options.size, SECTOR_BYTES);
  await makeRoom(file, end, volume.materialOffset, { preallocation: options.preallocation ?? 'off' });
  await file.write(volume.materialOffset, volume.material);
  await file.flush();
  await file.write(0, volume.header);
  await file.flush();
}
