// The library that breaks one call of a program (break-off.c).

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOURCE = fileURLToPath(new URL('./break-off.c', import.meta.url));

/** Makes the library in `folder`, and returns its path. */
export function makeLibrary(folder: string): string {
  const library = join(folder, 'break-off.so');
  execFileSync('cc', ['-O1', '-shared', '-fPIC', '-o', library, SOURCE, '-ldl']);
  return library;
}

/** The environment of a program that has the `nth` call into the files of `folder` broken; the file `hit` is made when that happened. */
export function brokenAt(library: string, folder: string, kind: string, nth: number, hit: string): NodeJS.ProcessEnv {
  return {
    ...process.env,
    ...{ DISKWRIGHT_ENGINE: 'threads', LD_PRELOAD: library },
    ...{ BREAK_FOLDER: `${folder}/`, BREAK_NTH: `${nth}`, BREAK_KIND: kind, BREAK_HIT: hit },
  };
}
