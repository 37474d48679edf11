#include "socket_binding.h"

#include <unistd.h>

#include <cerrno>

#include "address.h"
#include "terminal.h"

namespace diskwright {

namespace {

/** Whole numbers below are exact. */
constexpr double kMostOffset = 9007199254740992.0;

double number(const Napi::CallbackInfo& info, size_t index) { return info[index].As<Napi::Number>().DoubleValue(); }

int whole(const Napi::CallbackInfo& info, size_t index) { return info[index].As<Napi::Number>().Int32Value(); }

std::string text(const Napi::CallbackInfo& info, size_t index) { return info[index].As<Napi::String>().Utf8Value(); }

/** Bytes of a name: a buffer. */
std::string bytes(const Napi::CallbackInfo& info, size_t index) {
  const auto array = info[index].As<Napi::Uint8Array>();
  return std::string(reinterpret_cast<const char*>(array.Data()), array.ByteLength());
}

bool truth(const Napi::CallbackInfo& info, size_t index) { return info[index].As<Napi::Boolean>().Value(); }

Napi::Value answer(const Napi::CallbackInfo& info, int value) { return Napi::Number::New(info.Env(), value); }

template <int kCount>
void* arguments(napi_env env, napi_callback_info info, napi_value (&values)[kCount]) {
  size_t count = kCount;
  void* data;
  napi_get_cb_info(env, info, &count, values, nullptr, &data);
  return data;
}

uint32_t id(napi_env env, napi_value value) {
  uint32_t result = UINT32_MAX;
  napi_get_value_uint32(env, value, &result);
  return result;
}

Napi::Value bindUnixOf(const Napi::CallbackInfo& info) {
  return answer(info, bindUnix(bytes(info, 0), truth(info, 1)));
}

Napi::Value listenOnOf(const Napi::CallbackInfo& info) {
  return answer(info, listenOn(whole(info, 0), whole(info, 1)));
}

Napi::Value connectUnixOf(const Napi::CallbackInfo& info) {
  return answer(info, connectUnix(bytes(info, 0), truth(info, 1)));
}

Napi::Value listenInetOf(const Napi::CallbackInfo& info) {
  const auto port = static_cast<uint16_t>(whole(info, 1));
  return answer(info, listenInet(text(info, 0), port, truth(info, 2), whole(info, 3)));
}

Napi::Value connectInetOf(const Napi::CallbackInfo& info) {
  return answer(info, connectInet(text(info, 0), static_cast<uint16_t>(whole(info, 1))));
}

Napi::Value servicePortOf(const Napi::CallbackInfo& info) { return answer(info, servicePort(text(info, 0))); }

/** openTerminal() -> [descriptor, descriptor of the other side, path of the other side], or -errno. */
Napi::Value openTerminalOf(const Napi::CallbackInfo& info) {
  const Terminal made = openTerminal();
  if (made.fd < 0) return answer(info, made.fd);
  auto all = Napi::Array::New(info.Env(), 3);
  all.Set(0u, made.fd);
  all.Set(1u, made.other);
  all.Set(2u, made.path);
  return all;
}

Napi::Value adoptSocketOf(const Napi::CallbackInfo& info) { return answer(info, adoptSocket(whole(info, 0))); }

Napi::Value nameOfSocketOf(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), nameOfSocket(whole(info, 0), truth(info, 1)));
}

Napi::Value keepAliveOf(const Napi::CallbackInfo& info) { return answer(info, keepAlive(whole(info, 0))); }

Napi::Value closeSocketOf(const Napi::CallbackInfo& info) {
  return answer(info, ::close(whole(info, 0)) == 0 ? 0 : -errno);
}

}  // namespace

void SocketBinding::define(Napi::Env env, Napi::Object functions, uv_loop_t* loop, Engine& engine,
                           napi_async_context context) {
  env_ = env;
  loop_ = loop;
  engine_ = &engine;
  context_ = context;
  functions.Set("openSockets", Napi::Function::New(env, open, "openSockets", this));
  functions.Set("socketAttach", Napi::Function::New(env, attach, "socketAttach", this));
  functions.Set("socketDetach", Napi::Function::New(env, detach, "socketDetach", this));
  // These happen for every batch, or close to it: raw Node-API.
  const auto raw = [&](const char* name, napi_callback function) {
    napi_value made;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, function, this, &made);
    functions.Set(name, Napi::Value(env, made));
  };
  raw("socketArm", tell<&Sockets::arm>);
  raw("socketFlush", flush);
  raw("socketHold", hold);
  raw("socketTakeDescriptors", tell<&Sockets::takeDescriptors>);
  raw("socketFinish", tell<&Sockets::finish>);
  raw("socketClose", tell<&Sockets::close>);
  raw("socketDrop", tell<&Sockets::drop>);
}

/** openSockets(rows, onEvent) */
void SocketBinding::open(const Napi::CallbackInfo& info) {
  auto* self = static_cast<SocketBinding*>(info.Data());
  auto rows = info[0].As<Napi::ArrayBuffer>();
  self->rows_ = Napi::Persistent(info[0].As<Napi::Object>());
  self->onEvent_ = Napi::Persistent(info[1].As<Napi::Function>());
  self->sockets_ = std::make_unique<Sockets>(
      self->loop_, self->engine_->arena(), self->engine_->faults(), static_cast<double*>(rows.Data()), static_cast<uint32_t>(rows.ByteLength() / 64),
      [self](uint32_t id, int32_t event, double value) { self->call(id, event, value); });
}

/** socketAttach(id, fd, kind) -> 0 or -errno */
Napi::Value SocketBinding::attach(const Napi::CallbackInfo& info) {
  auto* self = static_cast<SocketBinding*>(info.Data());
  const auto kind = static_cast<SocketKind>(whole(info, 2));
  return answer(info, self->sockets_->attach(static_cast<uint32_t>(number(info, 0)), whole(info, 1), kind));
}

Napi::Value SocketBinding::detach(const Napi::CallbackInfo& info) {
  auto* self = static_cast<SocketBinding*>(info.Data());
  return answer(info, self->sockets_->detach(static_cast<uint32_t>(number(info, 0))));
}

/** A call with nothing but the socket's number. */
template <void (Sockets::*method)(uint32_t)>
napi_value SocketBinding::tell(napi_env env, napi_callback_info info) {
  napi_value values[1];
  auto* self = static_cast<SocketBinding*>(arguments(env, info, values));
  (self->sockets_.get()->*method)(id(env, values[0]));
  return nullptr;
}

/** socketFlush(id, table, count) -> all is sent */
napi_value SocketBinding::flush(napi_env env, napi_callback_info info) {
  napi_value values[3];
  auto* self = static_cast<SocketBinding*>(arguments(env, info, values));
  double table = 0;
  uint32_t count = 0;
  napi_get_value_double(env, values[1], &table);
  napi_get_value_uint32(env, values[2], &count);
  const bool done = self->sockets_->flush(id(env, values[0]), table >= 0 ? static_cast<uint64_t>(table) : 0, count);
  napi_value result;
  napi_get_boolean(env, done, &result);
  return result;
}

/** socketHold(id, fd, offset, length) -> number of a pipe, or -errno */
napi_value SocketBinding::hold(napi_env env, napi_callback_info info) {
  napi_value values[4];
  auto* self = static_cast<SocketBinding*>(arguments(env, info, values));
  int32_t fd = -1;
  double offset = -1;
  double length = -1;
  napi_get_value_int32(env, values[1], &fd);
  napi_get_value_double(env, values[2], &offset);
  napi_get_value_double(env, values[3], &length);
  int held = -EINVAL;
  if (offset >= 0 && length >= 0 && offset + length < kMostOffset) {
    const auto bytes = static_cast<uint64_t>(length);
    held = self->sockets_->hold(id(env, values[0]), fd, static_cast<uint64_t>(offset), bytes);
  }
  napi_value result;
  napi_create_int32(env, held, &result);
  return result;
}

void SocketBinding::call(uint32_t id, int32_t event, double value) {
  Napi::HandleScope scope(env_);
  napi_value arguments[3];
  if (napi_create_uint32(env_, id, &arguments[0]) != napi_ok) return;
  napi_create_int32(env_, event, &arguments[1]);
  napi_create_double(env_, value, &arguments[2]);
  napi_value result;
  const napi_status status =
      napi_make_callback(env_, context_, onEvent_.Value(), onEvent_.Value(), 3, arguments, &result);
  if (status == napi_pending_exception) {
    napi_value error;
    napi_get_and_clear_last_exception(env_, &error);
    napi_fatal_exception(env_, error);
  }
}

void SocketBinding::close(std::function<void()> closed) {
  if (sockets_) sockets_->closeAll(std::move(closed));
  else closed();
}

void SocketBinding::forget() {
  onEvent_.Reset();
  rows_.Reset();
}

void defineAddresses(Napi::Env env, Napi::Object exports) {
  exports.Set("bindUnix", Napi::Function::New(env, bindUnixOf));
  exports.Set("listenOn", Napi::Function::New(env, listenOnOf));
  exports.Set("connectUnix", Napi::Function::New(env, connectUnixOf));
  exports.Set("listenInet", Napi::Function::New(env, listenInetOf));
  exports.Set("connectInet", Napi::Function::New(env, connectInetOf));
  exports.Set("servicePort", Napi::Function::New(env, servicePortOf));
  exports.Set("openTerminal", Napi::Function::New(env, openTerminalOf));
  exports.Set("adoptSocket", Napi::Function::New(env, adoptSocketOf));
  exports.Set("nameOfSocket", Napi::Function::New(env, nameOfSocketOf));
  exports.Set("keepAlive", Napi::Function::New(env, keepAliveOf));
  exports.Set("closeSocket", Napi::Function::New(env, closeSocketOf));
}

}  // namespace diskwright
