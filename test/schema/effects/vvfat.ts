// What the options of vvfat do, on the real host: the simulated one has no folders.

import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { failureOf } from '../../drivers/support.js';
import { bytesOf, FolderLab } from '../../drivers/vvfat/lab.js';
import type { Effects } from './kit.js';

async function inLab(proof: (lab: FolderLab) => Promise<void>): Promise<void> {
  const lab = new FolderLab();
  try {
    await proof(lab);
  } finally {
    await lab.close();
  }
}

const textAt = (bytes: Uint8Array, offset: number, length: number) =>
  Buffer.from(bytes.subarray(offset, offset + length)).toString('latin1');

export const vvfatEffects: Effects = {
  'BlockdevOptionsVVFAT.dir': [
    'is the folder that is shown',
    () =>
      inLab(async (lab) => {
        lab.write('disk/file', 'content');
        expect(Buffer.from(await lab.fileSystem({ floppy: true })).includes('content')).to.equal(true);
        expect((await failureOf(lab.open({ dir: '/nonexistent' }))).code).to.equal('not-found');
      }),
  ],
  'BlockdevOptionsVVFAT.fat-type': [
    'is the type of the file system',
    () =>
      inLab(async (lab) => {
        expect(textAt(await lab.fileSystem({ 'fat-type': 12 }), 54, 8)).to.equal('FAT12   ');
        expect(textAt(await lab.fileSystem({ 'fat-type': 32 }), 82, 8)).to.equal('FAT32   ');
        expect((await failureOf(lab.open({ 'fat-type': 13 }))).code).to.equal('invalid-argument');
      }),
  ],
  'BlockdevOptionsVVFAT.floppy': [
    'makes the disk a floppy',
    () =>
      inLab(async (lab) => {
        expect((await lab.open({ floppy: true })).length).to.equal(2880 * 1024);
      }),
  ],
  'BlockdevOptionsVVFAT.label': [
    'is the name of the volume',
    () =>
      inLab(async (lab) => {
        const bytes = await lab.fileSystem({ floppy: true, label: 'mine' });
        // In the boot sector, and in the root directory.
        for (const offset of [43, 5 * 512]) expect(textAt(bytes, offset, 11)).to.equal('mine       ');
      }),
  ],
  'BlockdevOptionsVVFAT.rw': [
    'brings what is written to the folder',
    () =>
      inLab(async (lab) => {
        lab.write('disk/file', 'content');
        const node = await lab.open({ floppy: true, rw: true, 'read-only': false });
        // The first cluster, behind the boot sector, two FATs of two sectors and the root directory.
        const at = (5 + 32) * 512;
        const sector = await bytesOf(node, at, 512);
        sector[0] = 0x43;
        await node.write(at, sector);
        await node.flush();
        expect(readFileSync(lab.path('disk/file'), 'latin1')).to.equal('Content');
        expect((await failureOf(lab.open({ rw: true }))).code).to.equal('invalid-argument');
        expect((await failureOf(lab.open({ 'read-only': false }))).code).to.equal('read-only');
      }),
  ],
};
