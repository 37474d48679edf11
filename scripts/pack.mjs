// Makes the package of what is built, without building it again: `node scripts/pack.mjs FILE.tgz`, or `packTo(file)`.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { prebuild } from './prebuild.mjs';

const ROOT = new URL('..', import.meta.url).pathname;

/** Throws where nothing is built, or the addon would not load elsewhere. */
export function packTo(file) {
  if (!existsSync(join(ROOT, 'dist', 'lib', 'sim.js'))) throw new Error('nothing is built: npm run build');
  prebuild();
  const folder = mkdtempSync(join(dirname(resolve(file)), 'pack-'));
  try {
    const words = ['pack', '--ignore-scripts', '--json', '--pack-destination', folder];
    const [{ filename }] = JSON.parse(execFileSync('npm', words, { cwd: ROOT, encoding: 'utf8' }));
    renameSync(join(folder, filename), file);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

if (process.argv[1] === import.meta.filename) packTo(process.argv[2]);
