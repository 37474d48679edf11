// What JavaScript sees of FUSE (src/host/real/binding.ts declares the same shapes).
#pragma once

#include <napi.h>

#include <functional>
#include <memory>

#include "engine.h"
#include "fuse.h"

namespace diskwright {

/** The channels of one engine, and what ties them to its environment. Stays where it is: functions point to it. */
class FuseBinding {
 public:
  /** Adds the functions; nothing is open before JavaScript calls `openFuseChannels`. */
  void define(Napi::Env env, Napi::Object functions, uv_loop_t* loop, Engine& engine, napi_async_context context);
  /** Closes all channels, then calls `closed`: at once where there are none. */
  void close(std::function<void()> closed);
  /** Lets go of what belongs to JavaScript. */
  void forget();

 private:
  static void open(const Napi::CallbackInfo& info);
  static Napi::Value attach(const Napi::CallbackInfo& info);
  static void arm(const Napi::CallbackInfo& info);
  static void closeOne(const Napi::CallbackInfo& info);
  static napi_value reply(napi_env env, napi_callback_info info);
  void call(uint32_t id, int32_t count);

  napi_env env_ = nullptr;
  uv_loop_t* loop_ = nullptr;
  Engine* engine_ = nullptr;
  napi_async_context context_ = nullptr;
  std::unique_ptr<FuseChannels> channels_;
  Napi::FunctionReference onEvent_;
  Napi::ObjectReference rows_;
};

/** openFuse, mountFuse and the like. */
void defineMounting(Napi::Env env, Napi::Object exports);

}  // namespace diskwright
