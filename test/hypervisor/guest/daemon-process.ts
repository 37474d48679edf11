// The serving process of `daemon.ts`: opens images and serves them through the library.

import { copyFileSync, unlinkSync } from 'node:fs';
import { backup, commit, create, type Image, mirror, open, serve, shutdown, stream } from '../../../src/index.js';
import type { DaemonRequest, JobKind } from './daemon.js';

/** Bytes a second: a job is to be at work for a while. */
const SLOW = 1024 ** 2;
const disks = new Map<string, Image>();

async function startJob(kind: JobKind, image: Image, target: string): Promise<void> {
  if (kind === 'stream') await stream(image, { speed: SLOW });
  else if (kind === 'commit') await commit(image, { speed: SLOW });
  else {
    await create(target, { driver: 'qcow2', size: image.size });
    await { mirror, backup }[kind](image, target, { format: 'qcow2', sync: 'full', speed: SLOW });
  }
}

async function perform(request: DaemonRequest): Promise<void> {
  if (request === 'shutdown' || request === 'end') await shutdown();
  else if ('remove' in request) {
    unlinkSync(request.remove);
  } else if ('copy' in request) {
    copyFileSync(request.copy, request.to);
  } else if ('start' in request) {
    await startJob(request.start, disks.get(request.disk) as Image, request.target);
  } else {
    for (const { image, socket, name } of request.serve) {
      const disk = await open(image, { format: 'qcow2' });
      disks.set(name, disk);
      await serve(disk, { path: socket, name });
    }
  }
}

process.on('message', async (request: DaemonRequest) => {
  const answer = await perform(request).then(
    () => true,
    (error: Error) => error.message,
  );
  process.send?.(answer, () => {
    if (request === 'end') process.disconnect();
  });
});
process.once('disconnect', () => process.exit());
