// What becomes of a job's failed requests, against qemu-storage-daemon: on-error, on-source-error, on-target-error, for EIO and for ENOSPC.
// policies/table.ts says which jobs, policies/script.ts how a job gets there and goes on. One daemon takes all scripts of a kind of job.

import { requirePeer } from '../../support/peers.js';
import * as drive from './policies/drive.js';
import { filesFor, scriptOf } from './policies/script.js';
import { casesOf, DRIVE_KINDS, KINDS } from './policies/table.js';
import { comparing } from './runner.js';

/** Lengths are counted otherwise: of a commit what has data. */
const filter = (text: string): string => text.replace(/"(len|total-progress)":\d+,?/g, '');

describe('qmp against qemu-storage-daemon: failed requests of jobs', () => {
  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-img', 'qemu-io', 'qemu-system-x86_64']) requirePeer(this, peer);
  });

  for (const kind of KINDS) {
    const cases = casesOf(kind);
    const compare = comparing(cases.flatMap(scriptOf), { files: filesFor(cases.length), filter });
    it(kind.name, compare).timeout(60_000);
  }
  for (const kind of DRIVE_KINDS) {
    const cases = casesOf(kind);
    const words = cases.flatMap(drive.driveOf);
    const setup = { files: drive.filesFor(cases.length), words, filter, machine: true };
    it(kind.name, comparing(cases.flatMap(drive.scriptOf), setup)).timeout(60_000);
  }
});
