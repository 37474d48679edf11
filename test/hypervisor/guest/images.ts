// The guest's images, seen from outside by the reference: consistency, content, the file system in it, a file in that.

import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import type { Worker } from './agent.js';
import { PROGRAMS } from './parts.js';
import { BLOCK, recordsIn } from './records.js';

function must(program: string, ...words: string[]): string {
  const { status, stdout, stderr } = spawnSync(program, words, { encoding: 'utf8', env: PROGRAMS });
  if (status !== 0) throw new Error(`${program} ${words.join(' ')} ended with ${status}: ${stdout}${stderr}`);
  return stdout;
}

/** `qemu-img check` finds nothing; leaked clusters may be there after a kill, or while the image is in use. */
export function checkImage(path: string, { leaks = false } = {}): void {
  const { status, stdout, stderr } = spawnSync('qemu-img', ['check', path], { encoding: 'utf8' });
  if (status === 0 || (leaks && status === 3)) return;
  throw new Error(`qemu-img check ${path} ended with ${status}: ${stdout}${stderr}`);
}

/** Throws unless both read the same. */
export function expectSame(a: string, b: string): void {
  must('qemu-img', 'compare', a, b);
}

export function makeQcow2(raw: string, path: string): void {
  execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, path]);
}

export interface FileSystemState {
  /** The image is that of a running guest: the file system's journal is replayed first. */
  running?: boolean;
}

/**
 * Reads workers' files out of an image as qemu-img sees it, after `e2fsck` has found the file system clean: no code of ours, no guest. The
 * paths are the ones in the file system.
 */
export function readRecords(
  image: string,
  files: readonly { worker: Worker; path: string }[],
  { running = false }: FileSystemState = {},
): Uint32Array[] {
  const raw = `${image}.raw`;
  const copy = `${image}.file`;
  try {
    must('qemu-img', 'convert', '-O', 'raw', image, raw);
    if (running) spawnSync('e2fsck', ['-E', 'journal_only', '-fy', raw], { env: PROGRAMS });
    must('e2fsck', '-fn', raw);
    return files.map(({ worker, path }) => {
      rmSync(copy, { force: true });
      must('debugfs', '-R', `dump ${path} ${copy}`, raw);
      const content = readFileSync(copy);
      if (content.length > worker.blocks * BLOCK) throw new Error(`${path} is ${content.length} bytes long`);
      return recordsIn(content, worker.seed, worker.blocks);
    });
  } finally {
    for (const path of [raw, copy]) rmSync(path, { force: true });
  }
}
