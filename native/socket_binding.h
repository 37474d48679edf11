// What JavaScript sees of the sockets (src/host/real/binding.ts declares the same shapes).
#pragma once

#include <napi.h>

#include <functional>
#include <memory>

#include "engine.h"
#include "socket.h"

namespace diskwright {

/** The sockets of one engine, and what ties them to its environment. Stays where it is: functions point to it. */
class SocketBinding {
 public:
  /** Adds the functions; nothing is open before JavaScript calls `openSockets`. */
  void define(Napi::Env env, Napi::Object functions, uv_loop_t* loop, Engine& engine, napi_async_context context);
  /** Closes all sockets, then calls `closed`: at once where there are none. */
  void close(std::function<void()> closed);
  /** Lets go of what belongs to JavaScript. */
  void forget();

 private:
  static void open(const Napi::CallbackInfo& info);
  static Napi::Value attach(const Napi::CallbackInfo& info);
  static Napi::Value detach(const Napi::CallbackInfo& info);
  template <void (Sockets::*method)(uint32_t)>
  static napi_value tell(napi_env env, napi_callback_info info);
  static napi_value flush(napi_env env, napi_callback_info info);
  static napi_value hold(napi_env env, napi_callback_info info);
  void call(uint32_t id, int32_t event, double value);

  napi_env env_ = nullptr;
  uv_loop_t* loop_ = nullptr;
  Engine* engine_ = nullptr;
  napi_async_context context_ = nullptr;
  std::unique_ptr<Sockets> sockets_;
  Napi::FunctionReference onEvent_;
  Napi::ObjectReference rows_;
};

/** bindUnix, connectInet and the like. */
void defineAddresses(Napi::Env env, Napi::Object exports);

}  // namespace diskwright
