// Kernel modules: which files `insmod` needs, in which order. A module names what it depends on in its section `.modinfo`.

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

const MODULE = /\.ko(\.xz)?$/;

export interface KernelModule {
  name: string;
  content: Uint8Array;
}

/** `insmod` and `modprobe` take `-` and `_` for the same. */
function nameOf(path: string): string {
  return basename(path).replace(MODULE, '').replaceAll('-', '_');
}

/** The modules of `wanted` that are not built in, each after those that it needs. `folder` is /lib/modules/VERSION. */
export function modulesFor(folder: string, wanted: readonly string[]): KernelModule[] {
  const files = new Map(
    (readdirSync(folder, { recursive: true }) as string[])
      .filter((path) => MODULE.test(path))
      .map((path) => [nameOf(path), join(folder, path)]),
  );
  const found = new Map<string, KernelModule>();
  const visit = (name: string): void => {
    const path = files.get(name);
    if (path === undefined || found.has(name)) return;
    const content = path.endsWith('.xz')
      ? execFileSync('xz', ['-dc', path], { maxBuffer: 64 * 1024 ** 2 })
      : readFileSync(path);
    const needs = content.toString('latin1').match(/\0depends=([^\0]*)\0/)?.[1] ?? '';
    for (const need of needs.split(',').filter(Boolean)) visit(need.replaceAll('-', '_'));
    found.set(name, { name, content });
  };
  for (const name of wanted) visit(name);
  return [...found.values()];
}
