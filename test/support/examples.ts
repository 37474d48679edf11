// The examples of a page, and running one as a reader would: alone, in an empty folder.

import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Workshop } from './cli.js';

const LIBRARY = new URL('../../src/index.ts', import.meta.url).href;
const TSX = pathToFileURL(fileURLToPath(import.meta.resolve('tsx'))).href;

/** A failed assertion ends the example. */
const STRICT = "console.assert = (good) => { if (!good) throw new Error('assertion failed'); };\n";

/** The blocks of `language` of a page, named from the root of the repository; with `section`, those below that heading. */
export function examplesOf(page: string, language: string, section?: string): string[] {
  const text = readFileSync(new URL(`../../${page}`, import.meta.url), 'utf8');
  const part =
    section === undefined ? text : (text.split(/^## /m).find((found) => found.startsWith(`${section}\n`)) ?? '');
  return [...part.matchAll(/^```(\w+)\n(.*?)^```$/gms)].filter(([, of]) => of === language).map(([, , code]) => code);
}

/** Runs an example of the library. */
export function runExample(shop: Workshop, code: string): { status: number | null; stderr: string } {
  writeFileSync(shop.path('example.mts'), STRICT + code.replaceAll("'diskwright'", `'${LIBRARY}'`));
  const { status, stderr } = spawnSync(process.execPath, ['--import', TSX, 'example.mts'], {
    cwd: shop.folder,
    encoding: 'utf8',
  });
  return { status, stderr };
}
