#!/usr/bin/env node
// dist/cli.cjs: starts the command line, with the V8 code cache of an earlier run. Node compiles this file anew for each command, so it has nothing but what
// each needs.
'use strict';
const { Script, constants } = require('node:vm');

/** Which bundles this launcher starts; set by the build. */
const BUILD = 'unbundled';
/** Commands that copy or serve; set by the build. All others are over at once: in their bundle, a module runs when something of it is used. */
const LASTING = [];
/** The addon's interface (INTERFACE_VERSION); set by the build. */
const ADDON = 0;

// A command lives for a fraction of a second. With V8's own measure its optimising compiler took a third of the CPU time of a copy of
// 1 GiB (node 20; a quarter in 22, an eighth in 24), on the core that the copy needs; a loop that is really hot (a check of a huge image)
// is still compiled. The flag has another name in each V8; one that we have not measured keeps its own measure.
// A server lives on: there the compiler is worth its time (measured: 20% less CPU a request after three seconds). A command that is over at once
// needs neither: setting the flag would load node's streams.
const RARELY_OPTIMISE = {
  11.3: '--interrupt-budget=2000000',
  12.4: '--invocation-count-for-turbofan=90000',
  13.6: '--invocation-count-for-turbofan=90000',
};
const COPIES = ['convert', 'compare', 'commit', 'stream', 'mirror', 'backup'];
/** Programs of QEMU that are one command of ours. */
const PROGRAMS = { 'qemu-io': 'io', 'qemu-nbd': 'nbd', 'qemu-storage-daemon': 'daemon' };
const { argv, env, execArgv, version, versions, arch } = process;
// A script in place of one of QEMU's programs says so first (src/cli/as-program.ts).
const as = argv[2]?.startsWith('--as=') ? argv[2].slice(5) : undefined;
const word = PROGRAMS[as ?? argv[1].slice(argv[1].lastIndexOf('/') + 1)] ?? argv[as === undefined ? 2 : 3] ?? '';
const flag = COPIES.includes(word) ? RARELY_OPTIMISE[versions.v8.split('.', 2).join('.')] : undefined;
if (flag !== undefined) require('node:v8').setFlagsFromString(flag);

const folder = `${__dirname}/cli`;
const helps = argv.includes('--help') || argv.includes('-h');
const small = helps || !LASTING.includes(word);
const file = small ? `${folder}/small.cjs` : `${folder}/main.cjs`;

// The addon reads files with a fraction of what node's functions for it cost, which V8 compiles in each process.
const addon = loadAddon();

// Node opens its debugger to the machine at SIGUSR1, unless somebody listens. Here it means nothing, or "how far are you?" (cli/progress.ts).
if (small && addon !== undefined) addon.ignoreDebugger();
else process.on('SIGUSR1', () => undefined);

// The cache: what V8 compiled for a command is kept after its first run (code-cache.cjs), and the next run of the same command starts from it. It lies in
//
//   $XDG_CACHE_HOME/diskwright or ~/.cache/diskwright, else beside the bundle
//
// one file for each bundle, command, version of node and V8 flags, all of which, and the bundle's build, stand in the file's first line and
// are compared before V8 sees the rest. The second line is a CRC-32 of the rest (of a cache that is damaged, V8 runs what it finds). Code is taken from nobody but the user who runs it. That there is no cache
// never keeps a command from running.

/** What is run, where it is a command or a help text of one: its cache has its name. */
const called = /^(?:--)?([a-z]{1,16})$/.exec(word)?.[1] ?? 'none';
const verb = helps && called !== 'help' ? `${called}-help` : called;
const run = JSON.stringify([file, verb, version, versions.v8, arch, flag ?? '', execArgv, env.NODE_OPTIONS ?? '']);
const place = { key: `${BUILD} ${run}`, name: `${verb}-${fingerprint(run)}.cache`, folders: [folder] };
const home = env.XDG_CACHE_HOME || env.HOME;
// With sudo, HOME may be another user's: nothing of root's is left there.
if (home?.startsWith('/') && (addon === undefined ? isOurs(home) : addon.isOurs(home))) {
  place.folders.unshift(`${env.XDG_CACHE_HOME || `${home}/.cache`}/diskwright`);
}
const cachedData = readCache(place);

/** The bundle: ASCII, a function of what a CommonJS module knows. */
const script = new Script(addon?.readLatin1(file) ?? readWhole(file, 0, () => true).latin1Slice(), {
  filename: file,
  cachedData,
  importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
});
// Only a command that went well shows what the next one will need. A server starts in two thirds of the CPU time with it (measured: 0.12 s
// instead of 0.18), which counts where a daemon is started for each machine.
if (cachedData === undefined || script.cachedDataRejected) {
  process.on('exit', (code) => code === 0 && require('./cli/code-cache.cjs').writeCache(place, script));
}

const main = { exports: {} };
script.runInThisContext()(main.exports, require, main, file, folder, addon);

/** The addon that was built here or came with the package; undefined where there is none for this program. The bundle says what is wrong then. */
function loadAddon() {
  const built = `${folder}/../../build/Release/diskwright.node`;
  const libc = () => (require('node:fs').existsSync('/etc/alpine-release') ? 'musl' : 'glibc');
  const exports = loaded(built) ?? loaded(`${folder}/../../prebuilds/linux-${arch}/diskwright.napi.${libc()}.node`);
  return exports?.interfaceVersion === ADDON ? exports : undefined;
}

function loaded(path) {
  const module = { exports: {} };
  try {
    process.dlopen(module, path);
    return module.exports;
  } catch {
    return undefined;
  }
}

/** What V8 compiled for this command before, or undefined. */
function readCache({ key, name, folders }) {
  for (const folder of folders) {
    const path = `${folder}/${name}`;
    if (addon !== undefined) {
      const found = addon.readCache(path, key);
      if (found !== undefined) return found;
      continue;
    }
    try {
      const { constants: flags } = require('node:fs');
      const whole = readWhole(
        path,
        flags.O_NOFOLLOW | flags.O_NONBLOCK,
        (stats) => stats.isFile() && stats.uid === process.geteuid() && (stats.mode & 0o022) === 0,
      );
      const end = Buffer.byteLength(key);
      if (whole?.[end] !== 10 || whole.utf8Slice(0, end) !== key) continue;
      const code = whole.subarray((end + 10 + 15) & ~15);
      if (Number.parseInt(whole.utf8Slice(end + 1, end + 9), 16) === require('node:zlib').crc32(code)) return code;
    } catch {
      // There is none here.
    }
  }
  return undefined;
}

/** The bytes of a file; undefined where it is not `wanted`. Each function of node that is called here for the first time is compiled first: it is not `readFileSync`. */
function readWhole(path, flags, wanted) {
  const fs = require('node:fs');
  const fd = fs.openSync(path, fs.constants.O_RDONLY | flags);
  try {
    const stats = fs.fstatSync(fd);
    if (!wanted(stats)) return undefined;
    const whole = Buffer.allocUnsafeSlow(stats.size);
    for (let at = 0; at < whole.length; ) {
      const count = fs.readSync(fd, whole, at, whole.length - at);
      if (count === 0) return undefined;
      at += count;
    }
    return whole;
  } finally {
    fs.closeSync(fd);
  }
}

function isOurs(folder) {
  try {
    return require('node:fs').statSync(folder).uid === process.geteuid();
  } catch {
    return false;
  }
}

/** FNV-1a, eight figures: only a name; what counts is the whole key. */
function fingerprint(text) {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, '0');
}
