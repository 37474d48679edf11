#include "tables_binding.h"

#include <cstdint>

#include "tables.h"

namespace diskwright {

namespace {

/** Where arguments lead out of an array. */
constexpr int64_t kRefused = -3;
/** A larger number of entries than any array has; sums of several, and one times `kMostStride`, fit. */
constexpr double kMostItems = 1ull << 40;
/** Bytes of an entry. */
constexpr size_t kMostStride = 16;

/** The arguments of one call. One that leads out of an array makes it wrong. */
class Arguments {
 public:
  explicit Arguments(const Napi::CallbackInfo& info) : info_(info) {}

  double number(size_t index) const { return info_[index].As<Napi::Number>().DoubleValue(); }
  int32_t integer(size_t index) const { return info_[index].As<Napi::Number>().Int32Value(); }

  /** A length, or a place in an array. */
  size_t size(size_t index) {
    const double value = number(index);
    if (value >= 0 && value <= kMostItems) return static_cast<size_t>(value);
    wrong_ = true;
    return 0;
  }

  /** Of `items` at least. */
  template <typename Array>
  auto* array(size_t index, size_t items) {
    auto found = info_[index].As<Array>();
    wrong_ |= found.ElementLength() < items;
    return found.Data();
  }

  bool wrong() const { return wrong_; }
  void refuseUnless(bool right) { wrong_ |= !right; }
  Napi::Value result(int64_t value) const { return Napi::Number::New(info_.Env(), static_cast<double>(value)); }
  Napi::Value refusal() const { return result(kRefused); }

 private:
  const Napi::CallbackInfo& info_;
  bool wrong_ = false;
};

size_t bytesOf(size_t refcounts, uint32_t order) { return order < 3 ? (refcounts + (7 >> order)) >> (3 - order) : refcounts << (order - 3); }

/** rising(table, at, most, step) -> numbers */
Napi::Value rising(const Napi::CallbackInfo& info) {
  Arguments given(info);
  const size_t at = given.size(1);
  const size_t most = given.size(2);
  const size_t step = given.size(3);
  const auto* table = given.array<Napi::Uint8Array>(0, at + most * 8);
  if (given.wrong()) return given.refusal();
  return given.result(static_cast<int64_t>(risingNumbers(table + at, most, step)));
}

/** rise(table, at, count, step) -> 0 */
Napi::Value rise(const Napi::CallbackInfo& info) {
  Arguments given(info);
  const size_t at = given.size(1);
  const size_t count = given.size(2);
  const size_t step = given.size(3);
  auto* table = given.array<Napi::Uint8Array>(0, at + count * 8);
  if (given.wrong()) return given.refusal();
  makeRising(table + at, count, step);
  return given.result(0);
}

/** add(numbers, from, to, change) -> 0 */
Napi::Value add(const Napi::CallbackInfo& info) {
  Arguments given(info);
  const size_t from = given.size(1);
  const size_t to = given.size(2);
  auto* numbers = given.array<Napi::Int32Array>(0, to);
  given.refuseUnless(from <= to);
  if (given.wrong()) return given.refusal();
  addToAll(numbers + from, to - from, given.integer(3));
  return given.result(0);
}

/** settle(block, order, max, first, changes, ones, from, to) -> a `Settled`, or an index among the changes */
Napi::Value settle(const Napi::CallbackInfo& info) {
  Arguments given(info);
  const auto order = static_cast<uint32_t>(given.size(1));
  const auto max = static_cast<uint64_t>(given.number(2));
  const size_t first = given.size(3);
  const size_t from = given.size(6);
  const size_t to = given.size(7);
  given.refuseUnless(from <= to && order <= 6);
  if (given.wrong()) return given.refusal();
  auto* block = given.array<Napi::Uint8Array>(0, bytesOf(first + to - from, order));
  const auto* changes = given.array<Napi::Int32Array>(4, to);
  auto* ones = given.array<Napi::Uint8Array>(5, to);
  if (given.wrong()) return given.refusal();
  const int64_t settled = settleRefcounts(block, order, max, first, changes + from, ones + from, to - from);
  return given.result(settled < 0 ? settled : settled + static_cast<int64_t>(from));
}

/** nextFreed(block, order, first, changes, from, to) -> an index among the changes, `to` for none */
Napi::Value nextFreedOf(const Napi::CallbackInfo& info) {
  Arguments given(info);
  const auto order = static_cast<uint32_t>(given.size(1));
  const size_t first = given.size(2);
  const size_t from = given.size(4);
  const size_t to = given.size(5);
  given.refuseUnless(from <= to && order <= 6);
  if (given.wrong()) return given.refusal();
  const auto* block = given.array<Napi::Uint8Array>(0, bytesOf(first + to - from, order));
  const auto* changes = given.array<Napi::Int32Array>(3, to);
  if (given.wrong()) return given.refusal();
  return given.result(static_cast<int64_t>(from + nextFreed(block, order, first, changes + from, to - from)));
}

/** setFlags(table, at, stride, changes, ones, from, to) -> 1 where one has changed */
Napi::Value setFlags(const Napi::CallbackInfo& info) {
  Arguments given(info);
  const size_t at = given.size(1);
  const size_t stride = given.size(2);
  const size_t from = given.size(5);
  const size_t to = given.size(6);
  given.refuseUnless(from <= to && stride > 0 && stride <= kMostStride);
  if (given.wrong()) return given.refusal();
  auto* table = given.array<Napi::Uint8Array>(0, at + (to - from) * stride);
  const auto* changes = given.array<Napi::Int32Array>(3, to);
  const auto* ones = given.array<Napi::Uint8Array>(4, to);
  if (given.wrong()) return given.refusal();
  return given.result(setCopiedFlags(table + at, stride, changes + from, ones + from, to - from) ? 1 : 0);
}

}  // namespace

void defineTables(Napi::Env env, Napi::Object exports) {
  auto tables = Napi::Object::New(env);
  tables.Set("rising", Napi::Function::New(env, rising));
  tables.Set("rise", Napi::Function::New(env, rise));
  tables.Set("add", Napi::Function::New(env, add));
  tables.Set("settle", Napi::Function::New(env, settle));
  tables.Set("nextFreed", Napi::Function::New(env, nextFreedOf));
  tables.Set("setFlags", Napi::Function::New(env, setFlags));
  exports.Set("tables", tables);
}

}  // namespace diskwright
