#include "fuse_binding.h"

#include <string>

namespace diskwright {

namespace {

uint32_t idOf(const Napi::CallbackInfo& info) { return info[0].As<Napi::Number>().Uint32Value(); }

int whole(const Napi::CallbackInfo& info, size_t index) { return info[index].As<Napi::Number>().Int32Value(); }

std::string text(const Napi::CallbackInfo& info, size_t index) { return info[index].As<Napi::String>().Utf8Value(); }

/** Bytes of a name: a buffer. */
std::string bytes(const Napi::CallbackInfo& info, size_t index) {
  const auto array = info[index].As<Napi::Uint8Array>();
  return std::string(reinterpret_cast<const char*>(array.Data()), array.ByteLength());
}

Napi::Value answer(const Napi::CallbackInfo& info, int value) { return Napi::Number::New(info.Env(), value); }

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
  return Mounting::run(info.Env(), [path = bytes(info, 0), detach = info[1].As<Napi::Boolean>().Value()] {
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
  env_ = env;
  loop_ = loop;
  engine_ = &engine;
  context_ = context;
  functions.Set("openFuseChannels", Napi::Function::New(env, open, "openFuseChannels", this));
  functions.Set("fuseAttach", Napi::Function::New(env, attach, "fuseAttach", this));
  functions.Set("fuseArm", Napi::Function::New(env, arm, "fuseArm", this));
  functions.Set("fuseClose", Napi::Function::New(env, closeOne, "fuseClose", this));
  // It happens for every batch: raw Node-API.
  napi_value made;
  napi_create_function(env, "fuseReply", NAPI_AUTO_LENGTH, reply, this, &made);
  functions.Set("fuseReply", Napi::Value(env, made));
}

/** openFuseChannels(rows, onEvent) */
void FuseBinding::open(const Napi::CallbackInfo& info) {
  auto* self = static_cast<FuseBinding*>(info.Data());
  auto rows = info[0].As<Napi::ArrayBuffer>();
  self->rows_ = Napi::Persistent(info[0].As<Napi::Object>());
  self->onEvent_ = Napi::Persistent(info[1].As<Napi::Function>());
  self->channels_ = std::make_unique<FuseChannels>(self->loop_, self->engine_->arena(), static_cast<double*>(rows.Data()),
                                                   static_cast<uint32_t>(rows.ByteLength() / 64),
                                                   [self](uint32_t id, int32_t count) { self->call(id, count); });
}

/** fuseAttach(id, fd) -> 0 or -errno */
Napi::Value FuseBinding::attach(const Napi::CallbackInfo& info) {
  auto* self = static_cast<FuseBinding*>(info.Data());
  return answer(info, self->channels_->attach(idOf(info), whole(info, 1)));
}

void FuseBinding::arm(const Napi::CallbackInfo& info) {
  static_cast<FuseBinding*>(info.Data())->channels_->arm(idOf(info));
}

void FuseBinding::closeOne(const Napi::CallbackInfo& info) {
  static_cast<FuseBinding*>(info.Data())->channels_->close(idOf(info));
}

/** fuseReply(id, table, count) -> 0 or -errno */
napi_value FuseBinding::reply(napi_env env, napi_callback_info info) {
  size_t argc = 3;
  napi_value values[3];
  void* data;
  napi_get_cb_info(env, info, &argc, values, nullptr, &data);
  uint32_t id = UINT32_MAX;
  double table = 0;
  uint32_t count = 0;
  napi_get_value_uint32(env, values[0], &id);
  napi_get_value_double(env, values[1], &table);
  napi_get_value_uint32(env, values[2], &count);
  const auto address = table >= 0 ? static_cast<uint64_t>(table) : 0;
  napi_value result;
  napi_create_int32(env, static_cast<FuseBinding*>(data)->channels_->reply(id, address, count), &result);
  return result;
}

void FuseBinding::call(uint32_t id, int32_t count) {
  Napi::HandleScope scope(env_);
  napi_value arguments[2];
  if (napi_create_uint32(env_, id, &arguments[0]) != napi_ok) return;
  napi_create_int32(env_, count, &arguments[1]);
  napi_value result;
  const napi_status status =
      napi_make_callback(env_, context_, onEvent_.Value(), onEvent_.Value(), 2, arguments, &result);
  if (status == napi_pending_exception) {
    napi_value error;
    napi_get_and_clear_last_exception(env_, &error);
    napi_fatal_exception(env_, error);
  }
}

void FuseBinding::close(std::function<void()> closed) {
  if (channels_) channels_->closeAll(std::move(closed));
  else closed();
}

void FuseBinding::forget() {
  onEvent_.Reset();
  rows_.Reset();
}

void defineMounting(Napi::Env env, Napi::Object exports) {
  exports.Set("openFuse", Napi::Function::New(env, openFuseOf));
  exports.Set("mountFuse", Napi::Function::New(env, mountFuseOf));
  exports.Set("unmountFuse", Napi::Function::New(env, unmountFuseOf));
  exports.Set("socketPair", Napi::Function::New(env, socketPairOf));
  exports.Set("receiveDescriptor", Napi::Function::New(env, receiveDescriptorOf));
}

}  // namespace diskwright
