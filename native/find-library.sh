#!/bin/sh
# What of an optional library there is to link, for binding.gyp: `sh find-library.sh HEADER LIBRARY`. Prints
#   -l:libNAME.a  where the compiler finds the header, and a static library that can go into the addon,
#   -lNAME        where there is the header and a shared library only,
#   nothing       where there is no header, or DISKWRIGHT_BUNDLED_CODECS is 1.
header=$1
name=$2
cxx=${CXX:-c++}
[ "$DISKWRIGHT_BUNDLED_CODECS" != 1 ] || exit 0
echo "#include <$header>" | $cxx -E -x c++ - >/dev/null 2>&1 || exit 0
links() { echo "#include <$header>" | $cxx -x c++ -fPIC -shared -o /dev/null - -Wl,--whole-archive "$1" -Wl,--no-whole-archive >/dev/null 2>&1; }
for library in "-l:lib$name.a" "-l$name"; do
  if links "$library"; then
    echo "$library"
    exit 0
  fi
done
