// Writes V8's code cache of a command (see launcher.cjs, which reads it). A file is on the disk before it gets its name. That none can be written never keeps a
// command from running.
'use strict';
const fs = require('node:fs');
const { join } = require('node:path');
const { crc32 } = require('node:zlib');

/** Files that were not made again for so long go when a new one is made. */
const KEEP_MS = 90 * 86_400_000;

/** Keeps what `script` has compiled by now, in the first of `folders` that takes it, as `name`, with `key` and a checksum in its first lines. */
function writeCache({ key, name, folders }, script) {
  for (const folder of folders) {
    const draft = join(folder, `.${name}.${process.pid}`);
    try {
      fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
      const fd = fs.openSync(draft, 'wx', 0o600);
      try {
        const code = script.createCachedData();
        const lines = Buffer.from(`${key}\n${crc32(code).toString(16).padStart(8, '0')}\n`);
        // V8 copies what is not aligned.
        fs.writevSync(fd, [lines, Buffer.alloc(-lines.length & 15), code]);
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

module.exports = { writeCache };
