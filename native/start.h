// What the program's start and its end need of the system, in as few calls as possible: a small command takes hardly longer than they do. JavaScript
// thread only.
#pragma once

#include <napi.h>

namespace diskwright {

void defineStart(Napi::Env env, Napi::Object exports);

}  // namespace diskwright
