// The `-o` options of a new qcow2 image, as qemu-img has them.

import { type CreateOption, type CreateOptions, SIZE_OPTION } from '../../../block/create-option.js';
import { keySlotOptions } from '../luks/amend.js';
import { encryptionOptions } from '../luks/create.js';

const FORMAT: CreateOption = {
  name: 'encrypt.format',
  kind: 'str',
  help: "Encrypt the image, format choices: 'aes', 'luks'",
  member: 'encrypt.format',
  values: { aes: 'qcow' },
};

const KEY_HELP = 'ID of secret providing qcow AES key or LUKS passphrase';
const ENCRYPTION = [...encryptionOptions('encrypt.', KEY_HELP), FORMAT].sort((a, b) => (a.name < b.name ? -1 : 1));

export const QCOW2_CREATE_OPTIONS: CreateOptions = {
  options: [
    { name: 'backing_file', kind: 'str', help: 'File name of a base image', member: 'backing-file' },
    { name: 'backing_fmt', kind: 'str', help: 'Image format of the base image', member: 'backing-fmt' },
    { name: 'cluster_size', kind: 'size', help: 'qcow2 cluster size', member: 'cluster-size' },
    {
      name: 'compat',
      kind: 'str',
      help: 'Compatibility level (v2 [0.10] or v3 [1.1])',
      member: 'version',
      values: { '0.10': 'v2', '1.1': 'v3' },
    },
    {
      name: 'compression_type',
      kind: 'str',
      help: 'Compression method used for image cluster compression',
      member: 'compression-type',
    },
    {
      name: 'data_file',
      kind: 'str',
      help: 'File name of an external data file',
      member: 'data-file',
      isFile: true,
    },
    {
      name: 'data_file_raw',
      kind: 'bool (on/off)',
      help: 'The external data file must stay valid as a raw image',
      member: 'data-file-raw',
    },
    ...ENCRYPTION,
    {
      name: 'encryption',
      kind: 'bool (on/off)',
      help: "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)",
      member: 'encrypt.format',
      aliasOf: 'encrypt.format',
      values: { on: 'qcow' },
    },
    { name: 'extended_l2', kind: 'bool (on/off)', help: 'Extended L2 tables', member: 'extended-l2' },
    { name: 'lazy_refcounts', kind: 'bool (on/off)', help: 'Postpone refcount updates', member: 'lazy-refcounts' },
    {
      name: 'preallocation',
      kind: 'str',
      help: 'Preallocation mode (allowed values: off, metadata, falloc, full)',
      member: 'preallocation',
    },
    { name: 'refcount_bits', kind: 'num', help: 'Width of a reference count entry in bits', member: 'refcount-bits' },
    SIZE_OPTION,
  ],
  summary: [
    ['encryption'],
    ['encrypt.format'],
    ['encrypt.key-secret'],
    ['encrypt.cipher-alg'],
    ['encrypt.cipher-mode'],
    ['encrypt.ivgen-alg'],
    ['encrypt.ivgen-hash-alg'],
    ['encrypt.hash-alg'],
    ['encrypt.iter-time'],
    ['cluster_size', '65536'],
    ['extended_l2', 'off'],
    ['preallocation'],
    ['compression_type', 'zlib'],
    ['size'],
    ['compat'],
    ['backing_file'],
    ['backing_fmt'],
    ['data_file'],
    ['data_file_raw'],
    ['lazy_refcounts', 'off'],
    ['refcount_bits', '16'],
  ],
};

/** Options of a new image that it can be amended with, too; values are taken as they are. */
const AMENDED = [
  'backing_file',
  'backing_fmt',
  'compat',
  'data_file',
  'data_file_raw',
  'lazy_refcounts',
  'refcount_bits',
  'size',
];

export const QCOW2_AMEND_OPTIONS: readonly CreateOption[] = [
  ...QCOW2_CREATE_OPTIONS.options
    .filter(({ name }) => AMENDED.includes(name))
    .map(({ values: _, isFile: __, ...option }) => option),
  ...keySlotOptions('encrypt.'),
].sort((a, b) => (a.name < b.name ? -1 : 1));
