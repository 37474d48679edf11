#include "start.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <string>

// Node has it since 20.4; its headers declare it for later versions of the interface alone.
extern "C" __attribute__((weak)) napi_status node_api_create_external_string_latin1(napi_env, char*, size_t,
                                                                                    napi_finalize, void*, napi_value*,
                                                                                    bool*);

namespace diskwright {

namespace {

/**
 * A file's bytes, mapped: most of a bundle is never looked at. The build and the writer of a cache give a file its name when it is whole, and change none
 * that has one: what is mapped stays as it is.
 */
struct Content {
  uint8_t* bytes = nullptr;
  size_t length = 0;
};

/** What stands before the code of a cache is filled up to a multiple of so many bytes: V8 copies what is not aligned. */
constexpr size_t kCacheAlign = 16;

/** A CRC-32 in hexadecimal figures, and the end of its line. */
constexpr size_t kSumBytes = 9;

/** `ours`: only a file of this user, which no other user may write. Empty where it cannot be read. */
Content readContent(const std::string& path, bool ours) {
  Content content;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (ours ? O_NOFOLLOW : 0));
  if (fd < 0) return content;
  struct stat info {};
  const bool wanted = fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0 &&
                      (!ours || (info.st_uid == geteuid() && (info.st_mode & (S_IWGRP | S_IWOTH)) == 0));
  if (wanted) {
    content.length = static_cast<size_t>(info.st_size);
    // A cache is read from end to end: all of its pages at once, since a fault for each takes several times as long.
    void* base = mmap(nullptr, content.length, PROT_READ, MAP_PRIVATE | (ours ? MAP_POPULATE : 0), fd, 0);
    content.bytes = base == MAP_FAILED ? nullptr : static_cast<uint8_t*>(base);
  }
  close(fd);
  return content.bytes == nullptr ? Content{} : content;
}

void release(Content content) { munmap(content.bytes, content.length); }

/** The hint of a finalizer is the length of the memory. */
void unmapLater(napi_env, void* data, void* hint) {
  release({static_cast<uint8_t*>(data), reinterpret_cast<size_t>(hint)});
}

/** readLatin1(path) -> the file as a string, or undefined. V8 reads it where it lies, where this version of node can pass it so. */
Napi::Value readLatin1(const Napi::CallbackInfo& info) {
  const Content content = readContent(info[0].As<Napi::String>().Utf8Value(), false);
  if (content.bytes == nullptr) return info.Env().Undefined();
  auto* text = reinterpret_cast<char*>(content.bytes);
  napi_value made;
  bool copied = false;
  if (node_api_create_external_string_latin1 != nullptr &&
      node_api_create_external_string_latin1(info.Env(), text, content.length, unmapLater,
                                             reinterpret_cast<void*>(content.length), &made, &copied) == napi_ok) {
    // Where it was copied, the finalizer has been called.
    return Napi::Value(info.Env(), made);
  }
  const bool ok = napi_create_string_latin1(info.Env(), text, content.length, &made) == napi_ok;
  release(content);
  return ok ? Napi::Value(info.Env(), made) : info.Env().Undefined();
}

/** The first line is `line`, and the second one says what the rest adds up to. V8 would run a damaged cache. */
bool isWhole(Content content, const std::string& line, size_t start) {
  if (line.compare(0, line.size(), reinterpret_cast<char*>(content.bytes), line.size()) != 0) return false;
  const std::string sum(reinterpret_cast<char*>(content.bytes) + line.size(), kSumBytes - 1);
  const auto found = crc32(0, content.bytes + start, static_cast<uInt>(content.length - start));
  return std::strtoul(sum.c_str(), nullptr, 16) == found;
}

/** readCache(path, key) -> the code behind a first line that is `key`, and a second one with its CRC-32 (8 hexadecimal figures); or undefined. */
Napi::Value readCache(const Napi::CallbackInfo& info) {
  const std::string line = info[1].As<Napi::String>().Utf8Value() + '\n';
  const Content content = readContent(info[0].As<Napi::String>().Utf8Value(), true);
  if (content.bytes == nullptr) return info.Env().Undefined();
  const size_t start = (line.size() + kSumBytes + kCacheAlign - 1) / kCacheAlign * kCacheAlign;
  napi_value buffer;
  if (content.length <= start || !isWhole(content, line, start) ||
      napi_create_external_arraybuffer(info.Env(), content.bytes, content.length, unmapLater,
                                       reinterpret_cast<void*>(content.length), &buffer) != napi_ok) {
    release(content);
    return info.Env().Undefined();
  }
  return Napi::Uint8Array::New(info.Env(), content.length - start, Napi::ArrayBuffer(info.Env(), buffer), start);
}

/** isOurs(folder): it belongs to this user. */
Napi::Value isOurs(const Napi::CallbackInfo& info) {
  // Not `stat`: that of a recent C library is not in older ones.
  struct statx found {};
  const bool ours = statx(AT_FDCWD, info[0].As<Napi::String>().Utf8Value().c_str(), 0, STATX_UID, &found) == 0 &&
                    found.stx_uid == geteuid();
  return Napi::Boolean::New(info.Env(), ours);
}

/** ignoreDebugger(): SIGUSR1 does not start node's debugger any more. */
void ignoreDebugger(const Napi::CallbackInfo&) { signal(SIGUSR1, SIG_IGN); }

/** leave(code): ends the process without taking node apart: nothing may be under way in it. */
void leave(const Napi::CallbackInfo& info) { _exit(info[0].As<Napi::Number>().Int32Value()); }

}  // namespace

void defineStart(Napi::Env env, Napi::Object exports) {
  exports.Set("readLatin1", Napi::Function::New(env, readLatin1));
  exports.Set("readCache", Napi::Function::New(env, readCache));
  exports.Set("isOurs", Napi::Function::New(env, isOurs));
  exports.Set("ignoreDebugger", Napi::Function::New(env, ignoreDebugger));
  exports.Set("leave", Napi::Function::New(env, leave));
}

}  // namespace diskwright
