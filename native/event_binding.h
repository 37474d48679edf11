// What ties descriptors that the loop watches to JavaScript: the rows that both sides share, and the function that is called with what happens.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <string>

#include "engine.h"

namespace diskwright {

inline int whole(const Napi::CallbackInfo& info, size_t index) { return info[index].As<Napi::Number>().Int32Value(); }

inline uint32_t idOf(const Napi::CallbackInfo& info) { return info[0].As<Napi::Number>().Uint32Value(); }

inline std::string text(const Napi::CallbackInfo& info, size_t index) { return info[index].As<Napi::String>().Utf8Value(); }

inline bool truth(const Napi::CallbackInfo& info, size_t index) { return info[index].As<Napi::Boolean>().Value(); }

/** Bytes of a name: a buffer. */
inline std::string bytes(const Napi::CallbackInfo& info, size_t index) {
  const auto array = info[index].As<Napi::Uint8Array>();
  return std::string(reinterpret_cast<const char*>(array.Data()), array.ByteLength());
}

inline Napi::Value answer(const Napi::CallbackInfo& info, int value) { return Napi::Number::New(info.Env(), value); }

/** Gets the arguments of a function of raw Node-API. Returns what the function was made with. */
template <int kCount>
void* arguments(napi_env env, napi_callback_info info, napi_value (&values)[kCount]) {
  size_t count = kCount;
  void* data;
  napi_get_cb_info(env, info, &count, values, nullptr, &data);
  return data;
}

inline uint32_t idOf(napi_env env, napi_value value) {
  uint32_t result = UINT32_MAX;
  napi_get_value_uint32(env, value, &result);
  return result;
}

/** Calls JavaScript from the loop. What it throws is fatal, as in any callback of node's. */
inline void callFromLoop(napi_env env, napi_async_context context, const Napi::FunctionReference& function, size_t count,
                         const napi_value* values) {
  napi_value result;
  const napi_status status =
      napi_make_callback(env, context, function.Value(), function.Value(), count, values, &result);
  if (status != napi_pending_exception) return;
  napi_value error;
  napi_get_and_clear_last_exception(env, &error);
  napi_fatal_exception(env, error);
}

/** `All`: the descriptors of one engine (`Sockets`, `FuseChannels`). Stays where it is: functions point to it. */
template <typename All>
class EventBinding {
 public:
  /** Closes all, then calls `closed`: at once where there are none. */
  void close(std::function<void()> closed) {
    if (all_) all_->closeAll(std::move(closed));
    else closed();
  }

  /** Lets go of what belongs to JavaScript. */
  void forget() {
    onEvent_.Reset();
    rows_.Reset();
  }

 protected:
  void bind(napi_env env, uv_loop_t* loop, Engine& engine, napi_async_context context) {
    env_ = env;
    loop_ = loop;
    engine_ = &engine;
    context_ = context;
  }

  /** Adds a function that is called for every batch, or close to it: raw Node-API. */
  void defineRaw(Napi::Object functions, const char* name, napi_callback function) {
    napi_value made;
    napi_create_function(env_, name, NAPI_AUTO_LENGTH, function, this, &made);
    functions.Set(name, Napi::Value(env_, made));
  }

  /** A call with nothing but a number. */
  template <void (All::*method)(uint32_t)>
  static napi_value tell(napi_env env, napi_callback_info info) {
    napi_value values[1];
    auto* self = static_cast<EventBinding*>(arguments(env, info, values));
    (self->all_.get()->*method)(idOf(env, values[0]));
    return nullptr;
  }

  /** Keeps the arguments (rows, onEvent) of a function that opens them. Returns the rows, and their number. */
  double* keep(const Napi::CallbackInfo& info, uint32_t& count) {
    auto rows = info[0].As<Napi::ArrayBuffer>();
    rows_ = Napi::Persistent(info[0].As<Napi::Object>());
    onEvent_ = Napi::Persistent(info[1].As<Napi::Function>());
    count = static_cast<uint32_t>(rows.ByteLength() / 64);
    return static_cast<double*>(rows.Data());
  }

  void call(size_t count, const napi_value* values) { callFromLoop(env_, context_, onEvent_, count, values); }

  napi_env env_ = nullptr;
  uv_loop_t* loop_ = nullptr;
  Engine* engine_ = nullptr;
  std::unique_ptr<All> all_;

 private:
  napi_async_context context_ = nullptr;
  Napi::FunctionReference onEvent_;
  Napi::ObjectReference rows_;
};

}  // namespace diskwright
