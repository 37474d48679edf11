// `npm run build:js`: writes dist/.
//
//   dist/cli.cjs   starts the command line
//   dist/cli/      the command line: one CommonJS bundle, in which a verb's modules run when they are asked for
//   dist/lib/      the library: ES modules and declarations, as the compiler makes them

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** Packages that are addons, or are loaded when they are needed: they stay outside of the bundle. */
const EXTERNAL = ['fs-ext', 'bottleneck', 'node-gyp-build', 'zstd-napi'];

/**
 * Writes the command line to `outfile` and a folder beside it, which must lie somewhere below the package's folder: it looks for the
 * addon from there.
 */
export async function bundleCli(outfile: string): Promise<void> {
  const bundle = join(dirname(outfile), 'cli', 'main.cjs');
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  await build({
    entryPoints: [join(root, 'src/cli/entry.ts')],
    outfile: bundle,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    minifySyntax: true,
    minifyWhitespace: true,
    external: EXTERNAL,
    // The launcher makes one function of it. A CommonJS module has no import.meta: what it knows of itself is its file name.
    banner: {
      js: "(function (exports, require, module, __filename, __dirname) {const importMetaUrl = require('node:url').pathToFileURL(__filename).href;",
    },
    footer: { js: '})' },
    // As it is by default: the launcher reads the file as latin1.
    charset: 'ascii',
    define: { 'import.meta.url': 'importMetaUrl', DISKWRIGHT_VERSION: JSON.stringify(version) },
    logLevel: 'warning',
  });
  copyFileSync(join(root, 'scripts', 'code-cache.cjs'), join(dirname(bundle), 'code-cache.cjs'));
  const id = createHash('sha256').update(readFileSync(bundle)).digest('hex').slice(0, 32);
  const launcher = readFileSync(join(root, 'scripts', 'launcher.cjs'), 'utf8');
  writeFileSync(outfile, launcher.replace("const BUILD = 'unbundled'", `const BUILD = '${id}'`));
  chmodSync(outfile, 0o755);
}

function compileLibrary(): void {
  rmSync(join(root, 'dist', 'lib'), { recursive: true, force: true });
  const compiler = createRequire(import.meta.url).resolve('typescript/package.json');
  const { status } = spawnSync(
    process.execPath,
    [join(dirname(compiler), 'bin', 'tsc'), '-p', join(root, 'tsconfig.build.json')],
    { cwd: root, stdio: 'inherit' },
  );
  if (status !== 0) process.exit(status ?? 1);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await bundleCli(join(root, 'dist', 'cli.cjs'));
  if (!process.argv.includes('--cli')) compileLibrary();
}
