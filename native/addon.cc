// What JavaScript sees of the addon (src/host/real/binding.ts declares the same shapes). The two calls that happen for
// every batch are raw Node-API, the rest goes through node-addon-api.
#include <fcntl.h>
#include <napi.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>
#include <vector>

#include "bytes.h"
#include "cipher.h"
#include "codecs.h"
#include "engine.h"
#include "files.h"
#include "fuse_binding.h"
#include "socket_binding.h"
#include "start.h"
#include "tables_binding.h"

namespace diskwright {

namespace {

/** An engine and what ties it to its environment. Lives as long as the environment: functions point to it. */
struct Binding {
  napi_env env = nullptr;
  std::unique_ptr<Engine> engine;
  SocketBinding sockets;
  FuseBinding fuse;
  bool closing = false;
  Napi::FunctionReference onBatch;
  Napi::FunctionReference onClosed;
  std::vector<Napi::ObjectReference> tables;
  napi_async_context context = nullptr;
  napi_async_cleanup_hook_handle cleanup = nullptr;
};

struct Bindings {
  std::vector<std::unique_ptr<Binding>> all;
};

Binding* bindingOf(const Napi::CallbackInfo& info) { return static_cast<Binding*>(info.Data()); }

double argument(const Napi::CallbackInfo& info, size_t index) { return info[index].As<Napi::Number>().DoubleValue(); }

void callBatch(Binding* binding, unsigned count) {
  Napi::HandleScope scope(binding->env);
  napi_value argument;
  if (napi_create_uint32(binding->env, count, &argument) != napi_ok) return;
  callFromLoop(binding->env, binding->context, binding->onBatch, 1, &argument);
}

/** submit(count) -> completions that are there. */
napi_value submit(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value argument;
  void* data;
  napi_get_cb_info(env, info, &argc, &argument, nullptr, &data);
  uint32_t count = 0;
  napi_get_value_uint32(env, argument, &count);
  napi_value result;
  napi_create_uint32(env, static_cast<Binding*>(data)->engine->submit(count), &result);
  return result;
}

/** createSlab(bytes) -> ArrayBuffer over mapped memory, or null when there is none. */
Napi::Value createSlab(const Napi::CallbackInfo& info) {
  Slab* slab = bindingOf(info)->engine->arena().add(static_cast<size_t>(argument(info, 0)));
  if (slab == nullptr) return info.Env().Null();
  slab->retain();
  napi_value buffer;
  const auto finalize = [](napi_env, void*, void* hint) { static_cast<Slab*>(hint)->release(); };
  if (napi_create_external_arraybuffer(info.Env(), slab->base, slab->bytes, finalize, slab, &buffer) != napi_ok) {
    slab->release();
    bindingOf(info)->engine->arena().drop(slab->base);
    return info.Env().Null();
  }
  return Napi::Value(info.Env(), buffer);
}

Napi::Value addressOf(const Napi::CallbackInfo& info) {
  const auto address = reinterpret_cast<uintptr_t>(info[0].As<Napi::ArrayBuffer>().Data());
  return Napi::Number::New(info.Env(), static_cast<double>(address));
}

Napi::Value releaseSlab(const Napi::CallbackInfo& info) {
  const auto base = static_cast<uintptr_t>(argument(info, 0));
  return Napi::Boolean::New(info.Env(),
                            bindingOf(info)->engine->arena().drop(reinterpret_cast<const uint8_t*>(base)));
}

/** vacateSlab(address, bytes): the pages of a part of a slab go back to the system. */
Napi::Value vacateSlab(const Napi::CallbackInfo& info) {
  const auto address = static_cast<uint64_t>(argument(info, 0));
  return Napi::Boolean::New(info.Env(),
                            bindingOf(info)->engine->arena().vacate(address, static_cast<uint64_t>(argument(info, 1))));
}

void adoptFile(const Napi::CallbackInfo& info) { bindingOf(info)->engine->adopt(static_cast<int>(argument(info, 0))); }

void setFaults(const Napi::CallbackInfo& info) {
  Faults& faults = bindingOf(info)->engine->faults();
  std::atomic<int32_t>* fields[] = {&faults.maxBytes, &faults.interrupts, &faults.again, &faults.delayMs,
                                    &faults.ringFull, &faults.heldSteps};
  for (size_t i = 0; i < 6; i++) fields[i]->store(static_cast<int32_t>(argument(info, i)));
  faults.settings++;
}

/** Sockets and channels first: what they receive and send lies in the engine's memory. */
void closeAll(Binding* binding, std::function<void()> closed) {
  binding->closing = true;
  binding->sockets.close([binding, closed = std::move(closed)] {
    binding->fuse.close([binding, closed] { binding->engine->close(closed); });
  });
}

void closeEngine(const Napi::CallbackInfo& info) {
  Binding* binding = bindingOf(info);
  binding->onClosed = Napi::Persistent(info[0].As<Napi::Function>());
  closeAll(binding, [binding] {
    Napi::HandleScope scope(binding->env);
    napi_remove_async_cleanup_hook(binding->cleanup);
    binding->cleanup = nullptr;
    binding->onBatch.Reset();
    binding->sockets.forget();
    binding->fuse.forget();
    for (Napi::ObjectReference& table : binding->tables) table.Reset();
    napi_value result;
    napi_make_callback(binding->env, binding->context, binding->onClosed.Value(), binding->onClosed.Value(), 0, nullptr,
                       &result);
    binding->onClosed.Reset();
    napi_async_destroy(binding->env, binding->context);
  });
}

/** The environment goes away with the engine still open, requests in flight perhaps. */
void onCleanup(napi_async_cleanup_hook_handle handle, void* data) {
  auto* binding = static_cast<Binding*>(data);
  const auto gone = [handle] { napi_remove_async_cleanup_hook(handle); };
  if (!binding->closing) closeAll(binding, gone);
}

/** createEngine(descriptors, order, completions, slots, io_uring?, onBatch, inlineReadMax, waits, guests, opens) -> functions, or -errno. */
Napi::Value createEngine(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto binding = std::make_unique<Binding>();
  binding->env = env;
  Tables tables;
  tables.descriptors = static_cast<const uint8_t*>(info[0].As<Napi::ArrayBuffer>().Data());
  tables.order = static_cast<const int32_t*>(info[1].As<Napi::ArrayBuffer>().Data());
  tables.completions = static_cast<double*>(info[2].As<Napi::ArrayBuffer>().Data());
  tables.slots = info[3].As<Napi::Number>().Uint32Value();
  tables.guests = static_cast<const uint32_t*>(info[8].As<Napi::ArrayBuffer>().Data());
  for (const size_t i : {0, 1, 2, 8}) binding->tables.push_back(Napi::Persistent(info[i].As<Napi::Object>()));
  uv_loop_t* loop = nullptr;
  napi_get_uv_event_loop(env, &loop);
  Binding* data = binding.get();
  binding->engine = std::make_unique<Engine>(loop, tables, [data](unsigned count) { callBatch(data, count); });
  // Kept from here on, started or not: a handle that is being closed still points to the engine.
  env.GetInstanceData<Bindings>()->all.push_back(std::move(binding));
  const int failed = data->engine->start(info[4].As<Napi::Boolean>().Value(), static_cast<uint64_t>(argument(info, 6)),
                                         info[7].As<Napi::Boolean>().Value(), info[9].ToBoolean().Value());
  if (failed != 0) return Napi::Number::New(env, failed);
  data->onBatch = Napi::Persistent(info[5].As<Napi::Function>());
  napi_async_init(env, nullptr, Napi::String::New(env, "diskwright"), &data->context);
  napi_add_async_cleanup_hook(env, onCleanup, data, &data->cleanup);

  Napi::Object functions = Napi::Object::New(env);
  napi_value submitFunction;
  napi_create_function(env, "submit", NAPI_AUTO_LENGTH, submit, data, &submitFunction);
  functions.Set("submit", Napi::Value(env, submitFunction));
  functions.Set("createSlab", Napi::Function::New(env, createSlab, "createSlab", data));
  functions.Set("releaseSlab", Napi::Function::New(env, releaseSlab, "releaseSlab", data));
  functions.Set("vacateSlab", Napi::Function::New(env, vacateSlab, "vacateSlab", data));
  functions.Set("adoptFile", Napi::Function::New(env, adoptFile, "adoptFile", data));
  functions.Set("setFaults", Napi::Function::New(env, setFaults, "setFaults", data));
  data->sockets.define(env, functions, loop, *data->engine, data->context);
  data->fuse.define(env, functions, loop, *data->engine, data->context);
  functions.Set("close", Napi::Function::New(env, closeEngine, "close", data));
  return functions;
}

Napi::Value isZeroOf(const Napi::CallbackInfo& info) {
  const auto data = info[0].As<Napi::Uint8Array>();
  return Napi::Boolean::New(info.Env(), isZero(data.Data(), data.ByteLength()));
}

/** zeroMap(data, granule, map) -> granules, -1 where the map is too short. */
Napi::Value zeroMapOf(const Napi::CallbackInfo& info) {
  const auto data = info[0].As<Napi::Uint8Array>();
  const auto granule = static_cast<size_t>(argument(info, 1));
  auto map = info[2].As<Napi::Uint8Array>();
  if (granule == 0 || (data.ByteLength() + granule - 1) / granule > map.ByteLength()) {
    return Napi::Number::New(info.Env(), -1);
  }
  const size_t count = zeroMap(data.Data(), data.ByteLength(), granule, map.Data());
  return Napi::Number::New(info.Env(), static_cast<double>(count));
}

Napi::Value firstDifferenceOf(const Napi::CallbackInfo& info) {
  const auto a = info[0].As<Napi::Uint8Array>();
  const auto b = info[1].As<Napi::Uint8Array>();
  const size_t length = std::min(a.ByteLength(), b.ByteLength());
  return Napi::Number::New(info.Env(), static_cast<double>(firstDifference(a.Data(), b.Data(), length)));
}

int lockType(double kind) { return kind == 0 ? F_UNLCK : kind == 1 ? F_RDLCK : F_WRLCK; }

Napi::Value lock(const Napi::CallbackInfo& info) {
  const int64_t result = ofdLock(static_cast<int>(argument(info, 0)), lockType(argument(info, 1)),
                                 static_cast<uint64_t>(argument(info, 2)), static_cast<uint64_t>(argument(info, 3)));
  return Napi::Number::New(info.Env(), static_cast<double>(result));
}

Napi::Value lockConflicts(const Napi::CallbackInfo& info) {
  const int64_t result = ofdTest(static_cast<int>(argument(info, 0)), lockType(argument(info, 1)),
                                 static_cast<uint64_t>(argument(info, 2)), static_cast<uint64_t>(argument(info, 3)));
  return Napi::Number::New(info.Env(), static_cast<double>(result));
}

Napi::Value fileLockOf(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(fileLock(static_cast<int>(argument(info, 0)))));
}

/** duplicateFile(fd, findings: four words) -> a descriptor, or -errno. */
Napi::Value duplicateFileOf(const Napi::CallbackInfo& info) {
  const OpenedFile file = duplicateFile(static_cast<int>(argument(info, 0)));
  auto findings = info[1].As<Napi::Uint32Array>();
  const uint32_t words[4] = {file.memoryAlign, file.offsetAlign, file.type, file.flags};
  std::memcpy(findings.Data(), words, sizeof words);
  return Napi::Number::New(info.Env(), static_cast<double>(file.fd));
}

/** compressNow(codec, level, input, output) -> bytes, 0 where they do not fit, or -errno. */
Napi::Value compressNow(const Napi::CallbackInfo& info) {
  const auto in = info[2].As<Napi::Uint8Array>();
  auto out = info[3].As<Napi::Uint8Array>();
  const int64_t made = compress(static_cast<int32_t>(argument(info, 0)), static_cast<int>(argument(info, 1)), in.Data(),
                                in.ByteLength(), out.Data(), out.ByteLength());
  return Napi::Number::New(info.Env(), static_cast<double>(made));
}

/** decompressNow(codec, input, output) -> 0 where the output is full, or -errno. */
Napi::Value decompressNow(const Napi::CallbackInfo& info) {
  const auto in = info[1].As<Napi::Uint8Array>();
  auto out = info[2].As<Napi::Uint8Array>();
  const int64_t failed =
      decompress(static_cast<int32_t>(argument(info, 0)), in.Data(), in.ByteLength(), out.Data(), out.ByteLength());
  return Napi::Number::New(info.Env(), static_cast<double>(failed));
}

Napi::Uint8Array bytesOf(const Napi::CallbackInfo& info, size_t index) { return info[index].As<Napi::Uint8Array>(); }

/** The names of `CipherPath`, in the order of their numbers. */
constexpr const char* kCipherPaths[] = {"openssl", "openssl-avx2", "aes-ni", "vaes"};

/** Those that this processor has. */
Napi::Array cipherPathsOf(Napi::Env env) {
  auto names = Napi::Array::New(env);
  for (int32_t i = 0; i < static_cast<int32_t>(std::size(kCipherPaths)); i++) {
    if (hasCipherPath(static_cast<CipherPath>(i))) names.Set(names.Length(), kCipherPaths[i]);
  }
  return names;
}

/** openCipher(mode, vectors, key, key of the vectors, name of a path: else the best) -> a number, or -errno. */
Napi::Value openCipherOf(const Napi::CallbackInfo& info) {
  const auto key = bytesOf(info, 2);
  const auto ivKey = bytesOf(info, 3);
  CipherPath path = bestCipherPath();
  if (info[4].IsString()) {
    const auto named = std::find(std::begin(kCipherPaths), std::end(kCipherPaths), info[4].As<Napi::String>().Utf8Value());
    path = static_cast<CipherPath>(named - std::begin(kCipherPaths));
  }
  const int made = openCipher(static_cast<CipherMode>(argument(info, 0)), static_cast<IvMaker>(argument(info, 1)), key.Data(), key.ByteLength(),
                              ivKey.Data(), ivKey.ByteLength(), path);
  return Napi::Number::New(info.Env(), made);
}

void closeCipherOf(const Napi::CallbackInfo& info) { closeCipher(static_cast<int>(argument(info, 0))); }

/** cipherNow(number, encrypts, sector, input, output) -> 0, or -errno. */
Napi::Value cipherNow(const Napi::CallbackInfo& info) {
  const auto in = bytesOf(info, 3);
  auto out = bytesOf(info, 4);
  if (in.ByteLength() != out.ByteLength()) return Napi::Number::New(info.Env(), -EINVAL);
  const int answer = runCipher(static_cast<int>(argument(info, 0)), argument(info, 1) != 0, static_cast<uint64_t>(argument(info, 2)), in.Data(),
                               out.Data(), in.ByteLength());
  return Napi::Number::New(info.Env(), answer);
}

/** deriveNow(hash, password, salt, iterations, key) -> nanoseconds of the processor, or -errno. */
Napi::Value deriveNow(const Napi::CallbackInfo& info) {
  const auto password = bytesOf(info, 1);
  const auto salt = bytesOf(info, 2);
  auto key = bytesOf(info, 4);
  const int64_t took = deriveKey(static_cast<Hash>(argument(info, 0)), password.Data(), password.ByteLength(), salt.Data(), salt.ByteLength(),
                                 static_cast<uint64_t>(argument(info, 3)), key.Data(), key.ByteLength());
  return Napi::Number::New(info.Env(), static_cast<double>(took));
}

/** keepPrivate(data, keep): `data` is whole pages; when it is not to be kept any more, it is zeroed first. */
void keepPrivateOf(const Napi::CallbackInfo& info) {
  auto data = bytesOf(info, 0);
  const bool keep = argument(info, 1) != 0;
  if (!keep) wipe(data.Data(), data.ByteLength());
  keepPrivate(data.Data(), data.ByteLength(), keep);
}

Napi::Value seekRunOf(const Napi::CallbackInfo& info) {
  const int64_t found = seekRun(static_cast<int>(argument(info, 0)), static_cast<int64_t>(argument(info, 1)));
  return Napi::Number::New(info.Env(), static_cast<double>(found));
}

/** setNoCow(fd) -> 0 or -errno. */
Napi::Value setNoCowOf(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(setNoCow(static_cast<int>(argument(info, 0)))));
}

/** setExtentSize(fd, bytes) -> 0 or -errno. */
Napi::Value setExtentSizeOf(const Napi::CallbackInfo& info) {
  const int64_t result = setExtentSize(static_cast<int>(argument(info, 0)), static_cast<int64_t>(argument(info, 1)));
  return Napi::Number::New(info.Env(), static_cast<double>(result));
}

/** moveOffset(fd, bytes) -> the new offset, or -errno. */
Napi::Value moveOffsetOf(const Napi::CallbackInfo& info) {
  const int64_t at = moveOffset(static_cast<int>(argument(info, 0)), static_cast<int64_t>(argument(info, 1)));
  return Napi::Number::New(info.Env(), static_cast<double>(at));
}

Napi::Value fileSizeOf(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(fileSize(static_cast<int>(argument(info, 0)))));
}

Napi::Value sectorBytesOf(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(sectorBytes(static_cast<int>(argument(info, 0)))));
}

Napi::Value mappedSlabs(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(Slab::mapped()));
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Bindings);
  exports.Set("createEngine", Napi::Function::New(env, createEngine));
  exports.Set("addressOf", Napi::Function::New(env, addressOf));
  exports.Set("isZero", Napi::Function::New(env, isZeroOf));
  exports.Set("zeroMap", Napi::Function::New(env, zeroMapOf));
  exports.Set("firstDifference", Napi::Function::New(env, firstDifferenceOf));
  exports.Set("lock", Napi::Function::New(env, lock));
  exports.Set("lockConflicts", Napi::Function::New(env, lockConflicts));
  exports.Set("duplicateFile", Napi::Function::New(env, duplicateFileOf));
  exports.Set("fileLock", Napi::Function::New(env, fileLockOf));
  exports.Set("compressNow", Napi::Function::New(env, compressNow));
  exports.Set("decompressNow", Napi::Function::New(env, decompressNow));
  exports.Set("openCipher", Napi::Function::New(env, openCipherOf));
  exports.Set("closeCipher", Napi::Function::New(env, closeCipherOf));
  exports.Set("cipherNow", Napi::Function::New(env, cipherNow));
  exports.Set("deriveNow", Napi::Function::New(env, deriveNow));
  exports.Set("keepPrivate", Napi::Function::New(env, keepPrivateOf));
  exports.Set("hasCiphers", Napi::Boolean::New(env, hasCiphers()));
  exports.Set("cipherPaths", cipherPathsOf(env));
  exports.Set("seek", Napi::Function::New(env, seekRunOf));
  exports.Set("sectorBytes", Napi::Function::New(env, sectorBytesOf));
  exports.Set("setNoCow", Napi::Function::New(env, setNoCowOf));
  exports.Set("setExtentSize", Napi::Function::New(env, setExtentSizeOf));
  exports.Set("moveOffset", Napi::Function::New(env, moveOffsetOf));
  exports.Set("fileSize", Napi::Function::New(env, fileSizeOf));
  exports.Set("mappedSlabs", Napi::Function::New(env, mappedSlabs));
  defineAddresses(env, exports);
  defineMounting(env, exports);
  defineStart(env, exports);
  defineTables(env, exports);
  // Raised with each change of what JavaScript and the addon share; src/host/real/binding.ts has the same number.
  exports.Set("interfaceVersion", Napi::Number::New(env, 16));
  exports.Set("codecs", Napi::String::New(env, describeCodecs()));
  exports.Set("zeroTest", Napi::String::New(env, zeroTestName()));
  return exports;
}

}  // namespace

}  // namespace diskwright

using diskwright::init;
NODE_API_MODULE(diskwright, init)
