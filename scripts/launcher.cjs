#!/usr/bin/env node
// dist/cli.cjs: starts the command line (dist/cli/main.cjs), with the V8 code cache of an earlier run (code-cache.cjs).
'use strict';
// Node opens its debugger to the machine at SIGUSR1, unless somebody listens. Here it means nothing, or "how far are you?" (cli/progress.ts).
process.on('SIGUSR1', () => undefined);
const { readFileSync } = require('node:fs');
const { basename, dirname, join } = require('node:path');
const { Script, constants } = require('node:vm');
const { placeOf, readCache, writeCache } = require('./cli/code-cache.cjs');

/** Which bundle this launcher starts; set by the build. */
const BUILD = 'unbundled';

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
const SERVERS = ['nbd', 'daemon', 'qemu-nbd', 'qemu-storage-daemon'];
const COPIES = ['convert', 'compare', 'commit', 'stream', 'mirror', 'backup'];
const serves = SERVERS.includes(process.argv[2]) || SERVERS.includes(basename(process.argv[1]));
const copies = !serves && COPIES.includes(process.argv[2]);
const flag = copies ? RARELY_OPTIMISE[process.versions.v8.split('.', 2).join('.')] : undefined;
if (flag !== undefined) require('node:v8').setFlagsFromString(flag);

const file = join(__dirname, 'cli', 'main.cjs');
/** The command, where it is one: its cache has its name. */
const verb = /^[a-z]{1,16}$/.test(process.argv[2] ?? '') ? process.argv[2] : 'none';
const place = placeOf(file, BUILD, verb, flag ?? '');
const cachedData = readCache(place);

/** The bundle: ASCII, a function of what a CommonJS module knows. */
const source = readFileSync(file, 'latin1');
const script = new Script(source, {
  filename: file,
  cachedData,
  importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
});
// Only a command that went well shows what the next one will need. A server starts in two thirds of the CPU time with it (measured: 0.12 s
// instead of 0.18), which counts where a daemon is started for each machine.
if (cachedData === undefined || script.cachedDataRejected) {
  process.on('exit', (code) => code === 0 && writeCache(place, script));
}

const main = { exports: {} };
script.runInThisContext()(main.exports, require, main, file, dirname(file));
