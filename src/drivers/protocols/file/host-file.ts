// Opening a file of the host: where it cannot be written to, and where it is opened again.

import type { HostFile } from '../../../host/host.js';
import { BlockError } from '../../../util/errors.js';

/** Opens by `open`, or read-only where that is denied and `autoReadOnly` is set. */
export async function openOrReadOnly(
  open: (writable: boolean) => Promise<HostFile>,
  readOnly: boolean,
  autoReadOnly: boolean,
): Promise<{ file: HostFile; readOnly: boolean }> {
  try {
    return { file: await open(!readOnly), readOnly };
  } catch (error) {
    const denied = error instanceof BlockError && (error.code === 'permission' || error.code === 'read-only');
    if (readOnly || !autoReadOnly || !denied) throw error;
    return { file: await open(false), readOnly: true };
  }
}

/** Checks that `file`, opened again by the name of `old`, is the same file. Rejects with `bad-state` where the name belongs to another file by now. */
export async function checkSame(old: HostFile, file: HostFile): Promise<void> {
  if ((await file.info()).id === (await old.info()).id) return;
  throw new BlockError('bad-state', `'${file.path}' is not the file that was opened: another one has its name now`, {
    path: file.path,
    operation: 'reopen',
  });
}
