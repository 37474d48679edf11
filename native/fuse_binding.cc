#include "fuse_binding.h"

#include <string>

namespace diskwright {

namespace {

/** A call that may wait for this process's own answers, on a thread of its own. Its promise has the result. */
class Mounting : public Napi::AsyncWorker {
 public:
  static Napi::Value run(Napi::Env env, std::function<int()> call) {
    auto* worker = new Mounting(env, std::move(call));
    const Napi::Promise promise = worker->deferred_.Promise();
    worker->Queue();
    return promise;
  }

 protected:
  void Execute() override { result_ = call_(); }
  void OnOK() override { deferred_.Resolve(Napi::Number::New(Env(), result_)); }

 private:
  Mounting(Napi::Env env, std::function<int()> call)
      : Napi::AsyncWorker(env), deferred_(Napi::Promise::Deferred::New(env)), call_(std::move(call)) {}

  Napi::Promise::Deferred deferred_;
  const std::function<int()> call_;
  int result_ = 0;
};

Napi::Value openFuseOf(const Napi::CallbackInfo& info) { return answer(info, openFuse()); }

/** mountFuse(source, path, type, options) -> a promise of 0 or -errno */
Napi::Value mountFuseOf(const Napi::CallbackInfo& info) {
  return Mounting::run(info.Env(), [source = text(info, 0), path = bytes(info, 1), type = text(info, 2),
                                    options = text(info, 3)] { return mountFuse(source, path, type, options); });
}

/** unmountFuse(path, detach) -> a promise of 0 or -errno */
Napi::Value unmountFuseOf(const Napi::CallbackInfo& info) {
  return Mounting::run(info.Env(), [path = bytes(info, 0), detach = truth(info, 1)] {
    return unmountFuse(path, detach);
  });
}

/** socketPair() -> [descriptor, descriptor], or -errno. */
Napi::Value socketPairOf(const Napi::CallbackInfo& info) {
  int ends[2];
  const int failed = socketPair(ends);
  if (failed != 0) return answer(info, failed);
  auto both = Napi::Array::New(info.Env(), 2);
  both.Set(0u, ends[0]);
  both.Set(1u, ends[1]);
  return both;
}

Napi::Value receiveDescriptorOf(const Napi::CallbackInfo& info) { return answer(info, receiveDescriptor(whole(info, 0))); }

}  // namespace

void FuseBinding::define(Napi::Env env, Napi::Object functions, uv_loop_t* loop, Engine& engine,
                         napi_async_context context) {
  bind(env, loop, engine, context);
  functions.Set("openFuseChannels", Napi::Function::New(env, open, "openFuseChannels", this));
  functions.Set("fuseAttach", Napi::Function::New(env, attach, "fuseAttach", this));
  defineRaw(functions, "fuseArm", tell<&FuseChannels::arm>);
  defineRaw(functions, "fuseReply", reply);
  defineRaw(functions, "fuseClose", tell<&FuseChannels::close>);
}

/** openFuseChannels(rows, onEvent) */
void FuseBinding::open(const Napi::CallbackInfo& info) {
  auto* self = static_cast<FuseBinding*>(info.Data());
  uint32_t count;
  double* rows = self->keep(info, count);
  self->all_ = std::make_unique<FuseChannels>(self->loop_, self->engine_->arena(), rows, count,
                                              [self](uint32_t id, int32_t requests) { self->tellJavaScript(id, requests); });
}

/** fuseAttach(id, fd) -> 0 or -errno */
Napi::Value FuseBinding::attach(const Napi::CallbackInfo& info) {
  auto* self = static_cast<FuseBinding*>(info.Data());
  return answer(info, self->all_->attach(idOf(info), whole(info, 1)));
}

/** fuseReply(id, table, count) -> 0 or -errno */
napi_value FuseBinding::reply(napi_env env, napi_callback_info info) {
  napi_value values[3];
  auto* self = static_cast<FuseBinding*>(arguments(env, info, values));
  double table = 0;
  uint32_t count = 0;
  napi_get_value_double(env, values[1], &table);
  napi_get_value_uint32(env, values[2], &count);
  const auto address = table >= 0 ? static_cast<uint64_t>(table) : 0;
  napi_value result;
  napi_create_int32(env, self->all_->reply(idOf(env, values[0]), address, count), &result);
  return result;
}

void FuseBinding::tellJavaScript(uint32_t id, int32_t count) {
  Napi::HandleScope scope(env_);
  napi_value values[2];
  if (napi_create_uint32(env_, id, &values[0]) != napi_ok) return;
  napi_create_int32(env_, count, &values[1]);
  call(2, values);
}

void defineMounting(Napi::Env env, Napi::Object exports) {
  exports.Set("openFuse", Napi::Function::New(env, openFuseOf));
  exports.Set("mountFuse", Napi::Function::New(env, mountFuseOf));
  exports.Set("unmountFuse", Napi::Function::New(env, unmountFuseOf));
  exports.Set("socketPair", Napi::Function::New(env, socketPairOf));
  exports.Set("receiveDescriptor", Napi::Function::New(env, receiveDescriptorOf));
}

}  // namespace diskwright
