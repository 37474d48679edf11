// What JavaScript sees of the arithmetic over tables. JavaScript thread only.
#pragma once

#include <napi.h>

namespace diskwright {

void defineTables(Napi::Env env, Napi::Object exports);

}  // namespace diskwright
