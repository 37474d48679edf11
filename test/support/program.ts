// Programs in TypeScript that tests start as processes of their own. A compiler in each of them took two seconds of CPU time a start; bundled
// once, they take what node takes.

import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync, transformSync } from 'esbuild';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Of this process, below the package: the addon and the packages are found from there. */
const FOLDER = join(ROOT, '.scratch', `programs-${process.pid}`);
process.once('exit', () => rmSync(FOLDER, { recursive: true, force: true }));

const BANNER =
  "import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);";

const made = new Map<string, string>();

/** The path of one ES module that is `source` (the URL of a module) and all that it imports but for packages. Made at the first call. */
export function programOf(source: URL): string {
  const entry = fileURLToPath(source);
  let path = made.get(entry);
  if (path === undefined || !existsSync(path)) {
    path = join(FOLDER, `${made.size}-${basename(entry, '.ts')}.mjs`);
    mkdirSync(FOLDER, { recursive: true });
    buildSync({
      entryPoints: [entry],
      outfile: path,
      bundle: true,
      platform: 'node',
      target: 'node20',
      format: 'esm',
      packages: 'external',
      banner: { js: BANNER },
      logLevel: 'warning',
    });
    made.set(entry, path);
  }
  return path;
}

/** The JavaScript of a TypeScript module that imports nothing of ours by a relative name. */
export function scriptOf(code: string): string {
  return transformSync(code, { loader: 'ts', format: 'esm', target: 'node20' }).code;
}
