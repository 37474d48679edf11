// The driver definition of vmdk: how an image is opened and created.

import type { DriverDefinition } from '../../../block/registry.js';
import { checkVmdkCreate, createVmdk, isFlatVmdk, measureVmdk, VMDK_CREATE_OPTIONS, vmdkPartsAt } from './create.js';
import { VMDK_FINDING_WORDS } from './finding-words.js';
import { openVmdk } from './open.js';
import { streamVmdk } from './streamed.js';

export const vmdkDriver: DriverDefinition<'vmdk'> = {
  name: 'vmdk',
  kind: 'format',
  hasBacking: true,
  parts: { extents: 'extent' },
  // Into grains that are not compressed, as QEMU: they are written as they are.
  compresses: true,
  compressesWith: (options) => !isFlatVmdk(options),
  detailOrder: ['cid', 'parent-cid', 'create-type', 'extents'],
  get createOptions() {
    return VMDK_CREATE_OPTIONS;
  },
  get findingWords() {
    return VMDK_FINDING_WORDS;
  },
  open: (request) => openVmdk(request),
  partsAt: (options, path) => vmdkPartsAt(options, path),
  checkCreate: (options, path) => checkVmdkCreate(options, path),
  measure: (request) => measureVmdk(request),
  create: (request) => createVmdk(request),
  streamed: (options, path) => streamVmdk(options, path),
};
