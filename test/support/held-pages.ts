// Whether pages of files can be sent without being read here: the kernel has to tell which are in memory (Linux 6.5), and pipes have to be had.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openRealHost } from '../../src/host/real/index.js';
import { pairOf } from '../host/net-support.js';

export async function pagesCanBeHeld(): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), 'diskwright-pages-'));
  const host = openRealHost();
  try {
    writeFileSync(join(folder, 'data'), Buffer.alloc(4096, 1));
    const file = await host.open(join(folder, 'data'), { writable: false });
    const { client, close } = await pairOf(host, { type: 'unix', path: join(folder, 'socket') });
    const able = client.pushFile(host.memory.allocate(4096), 0, 16, file, 0, 4096) > 0;
    await close();
    return able;
  } finally {
    await host.close();
    rmSync(folder, { recursive: true });
  }
}
