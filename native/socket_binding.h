// What JavaScript sees of the sockets (src/host/real/binding.ts declares the same shapes).
#pragma once

#include <napi.h>

#include "event_binding.h"
#include "socket.h"

namespace diskwright {

/** The sockets of one engine. */
class SocketBinding : public EventBinding<Sockets> {
 public:
  /** Adds the functions; nothing is open before JavaScript calls `openSockets`. */
  void define(Napi::Env env, Napi::Object functions, uv_loop_t* loop, Engine& engine, napi_async_context context);

 private:
  static void open(const Napi::CallbackInfo& info);
  static Napi::Value attach(const Napi::CallbackInfo& info);
  static Napi::Value detach(const Napi::CallbackInfo& info);
  static napi_value flush(napi_env env, napi_callback_info info);
  static napi_value hold(napi_env env, napi_callback_info info);
  void tellJavaScript(uint32_t id, int32_t event, double value);
};

/** bindUnix, connectInet and the like. */
void defineAddresses(Napi::Env env, Napi::Object exports);

}  // namespace diskwright
