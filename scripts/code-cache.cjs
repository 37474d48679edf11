// V8's code cache of the command line: what V8 compiled for a command is kept after its first run, and the next run of the same command
// starts from it (measured: 41 ms instead of 55, of which node itself takes 20). It lies in
//
//   $XDG_CACHE_HOME/diskwright or ~/.cache/diskwright, else beside the bundle
//
// one file for each bundle, command, version of node and V8 flags, all of which, and the bundle's build, stand in the file's first line and
// are compared before V8 sees the rest. V8 compares lengths and trusts the rest, so a file is on the disk before it gets its name. Code is taken from nobody but the user who runs it. That there is no cache, or that none
// can be written, never keeps a command from running.
'use strict';
const fs = require('node:fs');
const { join } = require('node:path');

/** Files that were not made again for so long go when a new one is made. */
const KEEP_MS = 90 * 86_400_000;

/** Where the cache of `verb` may lie, the best place first, and what must stand in it. `flags`: what the launcher told V8. */
function placeOf(bundle, build, verb, flags) {
  const { execArgv, version, versions, arch, env } = process;
  const run = JSON.stringify([bundle, verb, version, versions.v8, arch, flags, execArgv, env.NODE_OPTIONS ?? '']);
  const key = `${build} ${run}`;
  // Without the build: the next one takes the place of this.
  const name = `${verb}-${fingerprint(run)}.cache`;
  const folders = [join(bundle, '..')];
  const base = env.XDG_CACHE_HOME || (env.HOME && join(env.HOME, '.cache'));
  // With sudo, HOME may be another user's: nothing of root's is left there.
  if (base?.startsWith('/') && isOurs(env.XDG_CACHE_HOME || env.HOME)) folders.unshift(join(base, 'diskwright'));
  return { key, name, folders };
}

/** What V8 compiled for this command before, or undefined. */
function readCache({ key, name, folders }) {
  for (const folder of folders) {
    let fd;
    try {
      fd = fs.openSync(join(folder, name), fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW);
      const { uid, mode, size } = fs.fstatSync(fd);
      if (uid !== process.geteuid() || (mode & 0o022) !== 0) continue;
      const whole = Buffer.allocUnsafe(size);
      if (fs.readSync(fd, whole) !== size) continue;
      const end = whole.indexOf(10);
      if (whole.toString('utf8', 0, end) === key) return whole.subarray(end + 1);
    } catch {
      // There is none here.
    } finally {
      if (fd !== undefined) fs.closeSync(fd);
    }
  }
  return undefined;
}

/** Keeps what `script` has compiled by now, in the first folder that takes it. */
function writeCache({ key, name, folders }, script) {
  for (const folder of folders) {
    const draft = join(folder, `.${name}.${process.pid}`);
    try {
      fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
      const fd = fs.openSync(draft, 'wx', 0o600);
      try {
        fs.writevSync(fd, [Buffer.from(`${key}\n`), script.createCachedData()]);
        fs.fdatasyncSync(fd);
      } finally {
        fs.closeSync(fd);
      }
      fs.renameSync(draft, join(folder, name));
      removeOld(folder);
      return;
    } catch {
      // It may not be written here.
      remove(draft);
    }
  }
}

function remove(path) {
  try {
    fs.unlinkSync(path);
  } catch {
    // It was not there, or is another's.
  }
}

function removeOld(folder) {
  for (const name of fs.readdirSync(folder)) {
    if (!/^\.?[a-z]+-[0-9a-f]{8}\.cache/.test(name)) continue;
    const path = join(folder, name);
    if (Date.now() - fs.statSync(path).mtimeMs > KEEP_MS) remove(path);
  }
}

function isOurs(folder) {
  try {
    return fs.statSync(folder).uid === process.geteuid();
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

module.exports = { placeOf, readCache, writeCache };
