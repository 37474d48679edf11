// The words of a check's findings, as qemu-img prints them: one line for each finding, two where qemu-img adds advice.

import type { CheckFinding } from '../../../block/finding.js';
import { decimal, type FindingWords, hex } from '../../../block/finding-words.js';

export const QCOW2_FINDING_WORDS: FindingWords = {
  'refcount-too-low': (finding) => `ERROR ${counts(finding)}`,
  'leaked-cluster': (finding) => `Leaked ${counts(finding)}`,
  'refcount-unreadable': ({ cluster }) => `Can't get refcount for cluster ${cluster}: Input/output error`,
  'too-many-references': ({ hostOffset }) =>
    `ERROR: overflow cluster offset=0x${hex(hostOffset)}\n` +
    'Use qemu-img amend to increase the refcount entry width or qemu-img convert to create a clean copy if the ' +
    'image cannot be opened for writing',
  'copied-flag': ({ table, index, entry, refcount }) => {
    const text = table === 'l1' ? `L2 cluster: l1_index=${index} l1_entry` : 'data cluster: l2_entry';
    return `ERROR OFLAG_COPIED ${text}=${hex(entry)} refcount=${decimal(refcount)}`;
  },
  'compressed-copied-flag': ({ hostOffset }) =>
    `ERROR: coffset=0x${hex(hostOffset)}: copied flag must never be set for compressed clusters`,
  'compressed-in-data-file': ({ index, entry }) =>
    `ERROR compressed cluster ${index} with data file, entry=0x${hex(entry)}`,
  'not-at-guest-offset': ({ hostOffset, guestOffset }) =>
    `ERROR offset=${hex(hostOffset)}: Data cluster is not at its guest offset ${hex(guestOffset)}; L2 entry corrupted.`,
  'subcluster-bitmap': ({ content, index, entry, hostOffset }) => {
    if (content === 'none') return 'ERROR: Unallocated cluster has non-zero subcluster allocation map';
    if (content === 'data')
      return `ERROR offset=${hex(hostOffset)}: Allocated cluster has corrupted subcluster allocation bitmap`;
    return `ERROR compressed cluster ${index} with non-zero subcluster allocation bitmap, entry=0x${hex(entry)}`;
  },
  'reserved-bits': ({ table, index, entry }) => {
    if (table === 'refcount-table') return `ERROR refcount table entry ${index} has reserved bits set`;
    return `ERROR found ${table === 'l1' ? 'L1' : 'l2'} entry with reserved bits set: ${hex(entry)}`;
  },
  unaligned: ({ table, index, content, hostOffset }) => {
    if (table === 'refcount-table') {
      return `ERROR refcount block ${index} is not cluster aligned; refcount table entry corrupted`;
    }
    if (table === 'l1') return `ERROR l2_offset=${hex(hostOffset)}: Table is not cluster aligned; L1 entry corrupted`;
    const kind = content === 'preallocated' ? 'Preallocated' : 'Data';
    return `ERROR offset=${hex(hostOffset)}: ${kind} cluster is not properly aligned; L2 entry corrupted.`;
  },
  'beyond-end-of-file': ({ hostOffset, length }) =>
    'ERROR: counting reference for region exceeding the end of the file by one cluster or more: ' +
    `offset 0x${hex(hostOffset)} size 0x${hex(length)}`,
  'snapshot-incomplete': ({ index }) => `ERROR snapshot table entry ${index} is incomplete`,
  'snapshot-extra-data': ({ index }) => `ERROR too much extra metadata in snapshot table entry ${index}`,
  'snapshots-unreadable': ({ index, entries }) =>
    `ERROR snapshot table: ${entries} entries from ${index} on cannot be read`,
  'snapshot-l1-unaligned': ({ snapshot, hostOffset }) =>
    `ERROR snapshot ${snapshot} l1_offset=0x${hex(hostOffset)}: L1 table is not cluster aligned; ` +
    'snapshot table entry corrupted',
  'snapshot-l1-too-large': ({ snapshot, entries }) =>
    `ERROR snapshot ${snapshot} l1_size=0x${hex(entries)}: L1 table is too large; snapshot table entry corrupted`,
  'snapshot-l1-in-header': ({ snapshot }) =>
    `ERROR snapshot ${snapshot} l1_offset=0x0: L1 table overlaps with the header; snapshot table entry corrupted`,
  'bitmap-unreadable': ({ reason }) => `ERROR bitmaps: ${reason}`,
  'refcount-block-outside': ({ index }) => `ERROR refcount block ${index} is outside image`,
  'refcount-block-shared': ({ index, references }) => `ERROR refcount block ${index} refcount=${references}`,
};

function counts({ cluster, refcount, references }: CheckFinding): string {
  return `cluster ${cluster} refcount=${decimal(refcount)} reference=${references}`;
}
