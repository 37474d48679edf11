#!/bin/sh
# Prints the folder of the package zstd-napi, which carries zstd's source, relative to this one; nothing where it is not installed. For
# binding.gyp.
node -p "
  const { dirname, relative } = require('node:path');
  try {
    relative(process.cwd(), dirname(require.resolve('zstd-napi/package.json')));
  } catch {
    '';
  }"
