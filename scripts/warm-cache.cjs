// Run by the build: runs a small copy and writes what V8 compiled for it beside the bundle.
//   node warm-cache.cjs LAUNCHER BUNDLE convert ...
'use strict';
const { writeFileSync } = require('node:fs');

const [, , launcher, bundle] = process.argv;
process.argv.splice(2, 2);
const { load, start } = require(launcher);
const script = load(bundle, undefined);
start(script, bundle);
process.on('exit', () => writeFileSync(`${bundle}.cache`, script.createCachedData()));
