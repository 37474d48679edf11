// A file that was made just now, and how its creation is undone: its name may have come to mean another's file since.

import type { Host } from '../host/host.js';
import { bestEffort } from '../util/best-effort.js';
import { BlockError } from '../util/errors.js';

/** A file that was not there before. */
export interface NewFile {
  path: string;
  /** Device and inode, as `FileInfo.id`. */
  id: string;
  /** The files with other parts of the image (its content, say, or its header) that were made, too. */
  parts?: readonly NewFile[];
}

/**
 * Removes `file` after `error`, where `path` still leads to the very file that was made. It stays where the error is that it is
 * `locked`: then another process works with it. Null: none was made. Best effort, since the caller tells what failed.
 */
export async function undoCreation(host: Host, file: NewFile | null, error: unknown): Promise<void> {
  if (file === null) return;
  const others = error instanceof BlockError && error.code === 'locked' && (error.path ?? file.path) === file.path;
  if (others) return;
  await removeNewFile(host, file);
}

/** The same where no other process can have used the file. */
export async function removeNewFile(host: Host, { path, id, parts = [] }: NewFile): Promise<void> {
  for (const part of parts) await removeNewFile(host, part);
  try {
    if ((await host.stat(path)).id === id) await host.unlink(path);
  } catch (error) {
    bestEffort('undoing a creation')(error);
  }
}
