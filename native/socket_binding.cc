#include "socket_binding.h"

#include <unistd.h>

#include <cerrno>

#include "address.h"
#include "terminal.h"

namespace diskwright {

namespace {

/** Whole numbers below are exact. */
constexpr double kMostOffset = 9007199254740992.0;

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
  bind(env, loop, engine, context);
  functions.Set("openSockets", Napi::Function::New(env, open, "openSockets", this));
  functions.Set("socketAttach", Napi::Function::New(env, attach, "socketAttach", this));
  functions.Set("socketDetach", Napi::Function::New(env, detach, "socketDetach", this));
  defineRaw(functions, "socketArm", tell<&Sockets::arm>);
  defineRaw(functions, "socketFlush", flush);
  defineRaw(functions, "socketHold", hold);
  defineRaw(functions, "socketTakeDescriptors", tell<&Sockets::takeDescriptors>);
  defineRaw(functions, "socketFinish", tell<&Sockets::finish>);
  defineRaw(functions, "socketClose", tell<&Sockets::close>);
  defineRaw(functions, "socketDrop", tell<&Sockets::drop>);
}

/** openSockets(rows, onEvent) */
void SocketBinding::open(const Napi::CallbackInfo& info) {
  auto* self = static_cast<SocketBinding*>(info.Data());
  uint32_t count;
  double* rows = self->keep(info, count);
  self->all_ = std::make_unique<Sockets>(
      self->loop_, self->engine_->arena(), self->engine_->faults(), rows, count,
      [self](uint32_t id, int32_t event, double value) { self->tellJavaScript(id, event, value); });
}

/** socketAttach(id, fd, kind) -> 0 or -errno */
Napi::Value SocketBinding::attach(const Napi::CallbackInfo& info) {
  auto* self = static_cast<SocketBinding*>(info.Data());
  const auto kind = static_cast<SocketKind>(whole(info, 2));
  return answer(info, self->all_->attach(idOf(info), whole(info, 1), kind));
}

Napi::Value SocketBinding::detach(const Napi::CallbackInfo& info) {
  auto* self = static_cast<SocketBinding*>(info.Data());
  return answer(info, self->all_->detach(idOf(info)));
}

/** socketFlush(id, table, count) -> all is sent */
napi_value SocketBinding::flush(napi_env env, napi_callback_info info) {
  napi_value values[3];
  auto* self = static_cast<SocketBinding*>(arguments(env, info, values));
  double table = 0;
  uint32_t count = 0;
  napi_get_value_double(env, values[1], &table);
  napi_get_value_uint32(env, values[2], &count);
  const bool done = self->all_->flush(idOf(env, values[0]), table >= 0 ? static_cast<uint64_t>(table) : 0, count);
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
    held = self->all_->hold(idOf(env, values[0]), fd, static_cast<uint64_t>(offset), bytes);
  }
  napi_value result;
  napi_create_int32(env, held, &result);
  return result;
}

void SocketBinding::tellJavaScript(uint32_t id, int32_t event, double value) {
  Napi::HandleScope scope(env_);
  napi_value values[3];
  if (napi_create_uint32(env_, id, &values[0]) != napi_ok) return;
  napi_create_int32(env_, event, &values[1]);
  napi_create_double(env_, value, &values[2]);
  call(3, values);
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
