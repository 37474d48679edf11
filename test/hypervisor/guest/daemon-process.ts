// The serving process of `daemon.ts`: opens images and serves them through the library.

import { copyFileSync, unlinkSync } from 'node:fs';
import { open, serve, shutdown } from '../../../src/index.js';
import type { DaemonRequest } from './daemon.js';

async function perform(request: DaemonRequest): Promise<void> {
  if (request === 'shutdown' || request === 'end') await shutdown();
  else if ('remove' in request) {
    unlinkSync(request.remove);
  } else if ('copy' in request) {
    copyFileSync(request.copy, request.to);
  } else {
    for (const { image, socket, name } of request.serve) {
      await serve(await open(image, { format: 'qcow2' }), { path: socket, name });
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
