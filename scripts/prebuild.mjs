// `npm run build:prebuilt`: puts the addon that was built here where node-gyp-build finds it in an installed package, after a look at what it
// needs of a system: the C library (of which version), and nothing that may be missing. docs/releasing.md.
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = new URL('..', import.meta.url).pathname;
const BUILT = join(ROOT, 'build', 'Release', 'diskwright.node');

/** What a process of node has loaded already, whatever the system. */
const ALWAYS_THERE = /^(lib(c|m|dl|pthread|gcc_s)\.so|ld-linux|libc\.musl-|ld-musl-)/;
/** Node's own programs of the versions that we support want this one. */
const NEWEST_GLIBC = [2, 28];

/** Libraries, and versions of glibc, that the addon `file` needs. */
export function needsOf(file) {
  const text = execFileSync('objdump', ['-p', file], { encoding: 'utf8' });
  const libraries = [...text.matchAll(/^\s*NEEDED\s+(\S+)/gm)].map(([, name]) => name);
  const versions = [...text.matchAll(/\bGLIBC_(\d+)\.(\d+)/g)].map(([, major, minor]) => [
    Number(major),
    Number(minor),
  ]);
  versions.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  return { libraries, glibc: versions.at(-1) ?? null };
}

/** Where the prebuilt addon of this machine's kind lies, in the folder `root`. */
export function prebuiltIn(root) {
  const libc = existsSync('/etc/alpine-release') ? 'musl' : 'glibc';
  return join(root, 'prebuilds', `linux-${process.arch}`, `diskwright.napi.${libc}.node`);
}

/** Throws where the addon that was built here would not load elsewhere. */
export function prebuild() {
  const { libraries, glibc } = needsOf(BUILT);
  const missing = libraries.filter((name) => !ALWAYS_THERE.test(name));
  if (missing.length > 0)
    throw new Error(`${BUILT} needs ${missing.join(', ')}: it cannot be shipped (docs/releasing.md)`);
  if (process.arch === 'x64' && glibc !== null && glibc[1] > NEWEST_GLIBC[1]) {
    throw new Error(`${BUILT} needs glibc ${glibc.join('.')}, and ${NEWEST_GLIBC.join('.')} is what node needs`);
  }
  const target = prebuiltIn(ROOT);
  mkdirSync(join(target, '..'), { recursive: true });
  const draft = `${target}.${process.pid}`;
  copyFileSync(BUILT, draft);
  execFileSync('strip', ['--strip-unneeded', draft]);
  const { codecs } = process.getBuiltinModule('node:module').createRequire(import.meta.url)(BUILT);
  if (codecs.includes('no zstd'))
    throw new Error(`${BUILT} has no zstd: install the package zstd-napi and build again`);
  renameSync(draft, target);
  return `${target.slice(ROOT.length)}: ${readFileSync(target).length} bytes, glibc ${glibc?.join('.') ?? 'none'}, ${codecs}`;
}

if (process.argv[1] === import.meta.filename) console.log(prebuild());
