// Whether files can be mounted by FUSE here.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Context } from 'mocha';
import { openRealHost } from '../../src/host/real/index.js';
import { leaveOut } from './needs.js';

/** Leaves out the suite whose `before` hook calls this where they cannot. */
export async function requireFuse(context: Context): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'diskwright-fuse-'));
  const host = openRealHost();
  try {
    writeFileSync(join(folder, 'file'), '');
    const channel = await host.fuse.mount({ path: join(folder, 'file'), allowOther: 'off', source: 'test' });
    await channel.unmount();
    channel.close();
  } catch {
    leaveOut(context, 'FUSE');
  } finally {
    await host.close();
    rmSync(folder, { recursive: true });
  }
}
