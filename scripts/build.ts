// `npm run build:js`: writes dist/.
//
//   dist/cli.cjs   starts the command line
//   dist/cli/      the command line: one CommonJS bundle, in which a verb's modules run when they are asked for
//   dist/man/      manual pages
//   dist/lib/      the library: ES modules and declarations, as the compiler makes them

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { INTERFACE_VERSION } from '../src/host/real/binding.js';
import { lateModules } from './late-modules.js';
import { writeManPages } from './man.js';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** Packages that are addons, or are loaded when they are needed: they stay outside of the bundle. */
const EXTERNAL = ['fs-ext', 'bottleneck', 'node-gyp-build', 'zstd-napi'];

/** Commands that are over at once. Their bundle is made without the modules of the others. */
const SMALL_VERBS = ['info', 'check', 'map', 'create', 'snapshot', 'bitmap'];

/**
 * Writes the command line to `outfile` and a folder beside it, which must lie somewhere below the package's folder: it looks for the
 * addon from there.
 */
export async function bundleCli(outfile: string): Promise<void> {
  const folder = join(dirname(outfile), 'cli');
  const bundles = [join(folder, 'main.cjs'), join(folder, 'small.cjs')];
  await bundleTo(bundles[0], null);
  await bundleTo(bundles[1], SMALL_VERBS);
  copyFileSync(join(root, 'scripts', 'code-cache.cjs'), join(folder, 'code-cache.cjs'));
  const hash = createHash('sha256');
  for (const bundle of bundles) hash.update(readFileSync(bundle));
  const launcher = readFileSync(join(root, 'scripts', 'launcher.cjs'), 'utf8');
  const settled = launcher
    .replace("const BUILD = 'unbundled'", `const BUILD = '${hash.digest('hex').slice(0, 32)}'`)
    .replace('const ADDON = 0', `const ADDON = ${INTERFACE_VERSION}`)
    .replace('const SMALL = []', `const SMALL = ${JSON.stringify(SMALL_VERBS)}`);
  writeFileSync(outfile, settled);
  chmodSync(outfile, 0o755);
}

/** Writes the bundle of `verbs`; null: of all. */
async function bundleTo(outfile: string, verbs: readonly string[] | null): Promise<void> {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  // A CommonJS module has no import.meta: what it knows of itself is its file name.
  const define = {
    'import.meta.filename': '__filename',
    'import.meta.dirname': '__dirname',
    DISKWRIGHT_VERSION: JSON.stringify(version),
    DISKWRIGHT_ADDON: 'launcherAddon',
  };
  await build({
    entryPoints: [join(root, 'src/cli/entry.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    minifySyntax: true,
    minifyWhitespace: true,
    external: EXTERNAL,
    // The launcher makes one function of it.
    banner: { js: '(function (exports, require, module, __filename, __dirname, launcherAddon) {' },
    footer: { js: '})' },
    // As it is by default: the launcher reads the file as latin1.
    charset: 'ascii',
    define,
    // In a server and a copy, each use of another module would cost a test more.
    plugins: verbs === null ? [] : [onlyVerbs(verbs), lateModules(join(root, 'src'), define)],
    logLevel: 'warning',
  });
}

/** Leaves out the modules of all other verbs; the launcher starts them from the other bundle. */
function onlyVerbs(verbs: readonly string[]): Plugin {
  return {
    name: 'only-verbs',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^\.\/verbs\/\w+\.js$/ }, ({ path, kind }) => {
        const verb = basename(path, '.js');
        return kind === 'dynamic-import' && !verbs.includes(verb) ? { path: verb, namespace: 'left-out' } : undefined;
      });
      onLoad({ filter: /./, namespace: 'left-out' }, () => ({ contents: "throw new Error('not in this bundle');" }));
    },
  };
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
  await writeManPages(join(root, 'dist', 'man'));
  if (!process.argv.includes('--cli')) compileLibrary();
}
