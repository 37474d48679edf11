// What JavaScript sees of FUSE (src/host/real/binding.ts declares the same shapes).
#pragma once

#include <napi.h>

#include "event_binding.h"
#include "fuse.h"

namespace diskwright {

/** The channels of one engine. */
class FuseBinding : public EventBinding<FuseChannels> {
 public:
  /** Adds the functions; nothing is open before JavaScript calls `openFuseChannels`. */
  void define(Napi::Env env, Napi::Object functions, uv_loop_t* loop, Engine& engine, napi_async_context context);

 private:
  static void open(const Napi::CallbackInfo& info);
  static Napi::Value attach(const Napi::CallbackInfo& info);
  static napi_value reply(napi_env env, napi_callback_info info);
  void tellJavaScript(uint32_t id, int32_t count);
};

/** openFuse, mountFuse and the like. */
void defineMounting(Napi::Env env, Napi::Object exports);

}  // namespace diskwright
