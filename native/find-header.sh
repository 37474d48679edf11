#!/bin/sh
# Prints 1 when the C++ compiler finds header $1, 0 otherwise (used by binding.gyp).
if [ "$DISKWRIGHT_BUNDLED_CODECS" != 1 ] && echo "#include <$1>" | ${CXX:-c++} -E -x c++ - >/dev/null 2>&1; then
  echo 1
else
  echo 0
fi
