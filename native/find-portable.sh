#!/bin/sh
# Prints 1 where the compiler makes programs for x86-64 and glibc and has a static libstdc++: then the addon can be linked so that it
# runs on systems older than this one (portable.cc). 0 otherwise. For binding.gyp.
cxx=${CXX:-c++}
program='#include <string>
#if !defined(__x86_64__) || !defined(__GLIBC__)
#error
#endif
std::string text(int i) { return std::to_string(i); }'
if echo "$program" | $cxx -x c++ -fPIC -shared -static-libstdc++ -o /dev/null - >/dev/null 2>&1; then
  echo 1
else
  echo 0
fi
