// `npm run build:js`: writes dist/.
//
//   dist/cli.cjs   starts the command line
//   dist/cli/      the command line: one CommonJS bundle, in which a verb's modules run when they are asked for
//   dist/man/      manual pages
//   dist/lib/      the library: ES modules and declarations, as the compiler makes them

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, transform } from 'esbuild';
import { INTERFACE_VERSION } from '../src/host/real/binding.js';
import { lateModules, plainWrappers } from './late-modules.js';
import { writeManPages } from './man.js';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** Packages that are addons, or are loaded when they are needed: they stay outside of the bundle. */
const EXTERNAL = ['fs-ext', 'bottleneck', 'node-gyp-build', 'ssh2', 'undici', 'zstd-napi'];

/** Commands that copy, serve or measure: they run from the bundle whose modules are all there from the beginning. All others are over at once. */
const LASTING_VERBS = [
  ...['convert', 'compare', 'commit', 'dd', 'rebase', 'compact', 'salvage', 'stream', 'mirror', 'backup'],
  ...['bench', 'nbd', 'daemon'],
];

/**
 * Writes the command line to `outfile` and a folder beside it, which must lie somewhere below the package's folder: it looks for the
 * addon from there.
 */
export async function bundleCli(outfile: string): Promise<void> {
  const folder = join(dirname(outfile), 'cli');
  const bundles = [join(folder, 'main.cjs'), join(folder, 'small.cjs')];
  await bundleTo(bundles[0], false);
  await bundleTo(bundles[1], true);
  copyFileSync(join(root, 'scripts', 'code-cache.cjs'), join(folder, 'code-cache.cjs'));
  const hash = createHash('sha256');
  for (const bundle of bundles) hash.update(readFileSync(bundle));
  const launcher = readFileSync(join(root, 'scripts', 'launcher.cjs'), 'utf8');
  const settled = launcher
    .replace("const BUILD = 'unbundled'", `const BUILD = '${hash.digest('hex').slice(0, 32)}'`)
    .replace('const ADDON = 0', `const ADDON = ${INTERFACE_VERSION}`)
    .replace('const LASTING = []', `const LASTING = ${JSON.stringify(LASTING_VERBS)}`);
  // Node reads and compiles it anew for each command.
  const { code } = await transform(settled, { minifySyntax: true, minifyWhitespace: true, target: 'node20' });
  replaceFile(outfile, code, 0o755);
}

/** Commands that run from a bundle have it mapped: what is in a file never changes, a new build has new files. */
function replaceFile(path: string, content: string, mode = 0o644): void {
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, content);
  chmodSync(draft, mode);
  renameSync(draft, path);
}

/** Writes a bundle. `late`: a module runs when something of it is used for the first time. */
async function bundleTo(outfile: string, late: boolean): Promise<void> {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  // A CommonJS module has no import.meta: what it knows of itself is its file name.
  const define = {
    'import.meta.filename': '__filename',
    'import.meta.dirname': '__dirname',
    DISKWRIGHT_VERSION: JSON.stringify(version),
    DISKWRIGHT_ADDON: 'launcherAddon',
  };
  const { outputFiles } = await build({
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
    plugins: late ? [lateModules(join(root, 'src'), define)] : [],
    logLevel: 'warning',
    write: false,
  });
  const [{ text }] = outputFiles;
  mkdirSync(dirname(outfile), { recursive: true });
  replaceFile(outfile, late ? plainWrappers(text) : text);
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
