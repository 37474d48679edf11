// The examples of a page, and running one as a reader would: alone, in an empty folder.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Workshop } from './cli.js';
import { programOf, scriptOf } from './program.js';

const LIBRARY = new URL('../../src/index.ts', import.meta.url);

/** A failed assertion ends the example. */
const STRICT = "console.assert = (good) => { if (!good) throw new Error('assertion failed'); };\n";

/** The blocks of `language` of a page, named from the root of the repository; with `section`, those below that heading. */
export function examplesOf(page: string, language: string, section?: string): string[] {
  const text = readFileSync(new URL(`../../${page}`, import.meta.url), 'utf8');
  const part =
    section === undefined ? text : (text.split(/^## /m).find((found) => found.startsWith(`${section}\n`)) ?? '');
  return [...part.matchAll(/^```(\w+)\n(.*?)^```$/gms)].filter(([, of]) => of === language).map(([, , code]) => code);
}

/** Runs an example of the library. `diskwright` is the command line for what it starts. */
export function runExample(shop: Workshop, code: string): { status: number | null; stderr: string } {
  const commands = shop.path('.bin');
  mkdirSync(commands, { recursive: true });
  writeFileSync(join(commands, 'diskwright'), `#!/bin/sh\nexec "${process.execPath}" "${shop.bundle}" "$@"\n`, {
    mode: 0o755,
  });
  const library = pathToFileURL(programOf(LIBRARY)).href;
  writeFileSync(shop.path('example.mjs'), scriptOf(STRICT + code.replaceAll("from 'diskwright'", `from '${library}'`)));
  const { status, stderr } = spawnSync(process.execPath, ['example.mjs'], {
    cwd: shop.folder,
    encoding: 'utf8',
    env: { ...process.env, PATH: `${commands}:${process.env['PATH']}` },
  });
  return { status, stderr };
}
