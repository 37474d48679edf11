#include "pbkdf2.h"

#include <algorithm>
#include <cstring>

#include "cipher.h"

// OpenSSL's contexts begin with the state; what is behind it is room that these functions may use.
extern "C" {
__attribute__((weak)) int SHA1_Init(void*);
__attribute__((weak)) void SHA1_Transform(void*, const unsigned char*);
__attribute__((weak)) int SHA224_Init(void*);
__attribute__((weak)) int SHA256_Init(void*);
__attribute__((weak)) void SHA256_Transform(void*, const unsigned char*);
__attribute__((weak)) int SHA384_Init(void*);
__attribute__((weak)) int SHA512_Init(void*);
__attribute__((weak)) void SHA512_Transform(void*, const unsigned char*);
}

namespace diskwright {

namespace {

constexpr size_t kContextBytes = 512;

uint32_t swapped(uint32_t word) { return __builtin_bswap32(word); }
uint64_t swapped(uint64_t word) { return __builtin_bswap64(word); }

/** `Word`s of the state; `kWords` of them. A block is 16 words, and ends with the length of the message in bits, in two words. */
template <typename Word, size_t kWords>
class Hmac {
 public:
  using Init = int (*)(void*);
  using Transform = void (*)(void*, const unsigned char*);
  static constexpr size_t kBlock = 16 * sizeof(Word);
  static constexpr size_t kMaxMessage = kBlock - 2 * sizeof(Word) - 1;

  Hmac(Init init, Transform transform, size_t digestBytes) : init_(init), transform_(transform), digestBytes_(digestBytes) {}
  Hmac(const Hmac&) = delete;
  Hmac& operator=(const Hmac&) = delete;
  ~Hmac() { wipe(this, sizeof *this); }

  void setKey(const uint8_t* key, size_t bytes) {
    takeKey(inner_, key, bytes, 0x36);
    takeKey(outer_, key, bytes, 0x5c);
  }

  /** `message` fits into a block. */
  void derive(const uint8_t* message, size_t messageBytes, uint64_t iterations, uint8_t* out, size_t outBytes) {
    uint8_t block[kBlock];
    pad(block, message, messageBytes);
    apply(block);
    uint8_t sum[kBlock];
    std::memcpy(sum, block, digestBytes_);
    pad(block, sum, digestBytes_);
    for (uint64_t i = 1; i < iterations; i++) {
      apply(block);
      for (size_t at = 0; at < digestBytes_; at += 4) {
        uint32_t a;
        uint32_t b;
        std::memcpy(&a, sum + at, 4);
        std::memcpy(&b, block + at, 4);
        a ^= b;
        std::memcpy(sum + at, &a, 4);
      }
    }
    std::memcpy(out, sum, outBytes);
    wipe(sum, sizeof sum);
    wipe(block, sizeof block);
  }

 private:
  void takeKey(Word* state, const uint8_t* key, size_t bytes, uint8_t mask) {
    uint8_t block[kBlock];
    std::memset(block, mask, sizeof block);
    for (size_t i = 0; i < bytes; i++) block[i] ^= key[i];
    init_(context_);
    transform_(context_, block);
    std::memcpy(state, context_, sizeof(Word) * kWords);
    wipe(block, sizeof block);
  }

  /** Behind a block of the key. */
  static void pad(uint8_t* block, const uint8_t* message, size_t bytes) {
    std::memmove(block, message, bytes);
    std::memset(block + bytes, 0, kBlock - bytes);
    block[bytes] = 0x80;
    const Word bits = swapped(static_cast<Word>((kBlock + bytes) * 8));
    std::memcpy(block + kBlock - sizeof bits, &bits, sizeof bits);
  }

  /** Replaces the message in `block` by its HMAC, padded as one. */
  void apply(uint8_t* block) {
    run(inner_, block);
    pad(block, block, digestBytes_);
    run(outer_, block);
  }

  void run(const Word* from, uint8_t* block) {
    std::memcpy(context_, from, sizeof(Word) * kWords);
    transform_(context_, block);
    for (size_t i = 0; i * sizeof(Word) < digestBytes_; i++) {
      Word word;
      std::memcpy(&word, context_ + i * sizeof word, sizeof word);
      word = swapped(word);
      std::memcpy(block + i * sizeof word, &word, std::min(sizeof word, digestBytes_ - i * sizeof word));
    }
  }

  const Init init_;
  const Transform transform_;
  const size_t digestBytes_;
  Word inner_[kWords];
  Word outer_[kWords];
  alignas(16) uint8_t context_[kContextBytes] = {};
};

template <typename Word, size_t kWords>
bool derive(int (*init)(void*), void (*transform)(void*, const unsigned char*), size_t digestBytes, const uint8_t* password, size_t passwordBytes,
            const uint8_t* salt, size_t saltBytes, uint64_t iterations, uint8_t* key, size_t keyBytes) {
  using Mac = Hmac<Word, kWords>;
  if (init == nullptr || transform == nullptr) return false;
  if (passwordBytes > Mac::kBlock || saltBytes + 4 > Mac::kMaxMessage) return false;
  Mac mac(init, transform, digestBytes);
  mac.setKey(password, passwordBytes);
  uint8_t message[Mac::kBlock];
  if (saltBytes > 0) std::memcpy(message, salt, saltBytes);
  for (size_t at = 0; at < keyBytes; at += digestBytes) {
    const uint32_t number = swapped(static_cast<uint32_t>(at / digestBytes + 1));
    std::memcpy(message + saltBytes, &number, 4);
    mac.derive(message, saltBytes + 4, iterations, key + at, std::min(digestBytes, keyBytes - at));
  }
  return true;
}

}  // namespace

bool fastPbkdf2(int32_t hash, const uint8_t* password, size_t passwordBytes, const uint8_t* salt, size_t saltBytes, uint64_t iterations, uint8_t* key,
                size_t keyBytes) {
  const auto small = [&](auto init, auto transform, size_t digest) {
    return derive<uint32_t, 8>(init, transform, digest, password, passwordBytes, salt, saltBytes, iterations, key, keyBytes);
  };
  const auto large = [&](auto init, auto transform, size_t digest) {
    return derive<uint64_t, 8>(init, transform, digest, password, passwordBytes, salt, saltBytes, iterations, key, keyBytes);
  };
  switch (static_cast<Hash>(hash)) {
    case Hash::kSha1:
      return derive<uint32_t, 5>(SHA1_Init, SHA1_Transform, 20, password, passwordBytes, salt, saltBytes, iterations, key, keyBytes);
    case Hash::kSha224:
      return small(SHA224_Init, SHA256_Transform, 28);
    case Hash::kSha256:
      return small(SHA256_Init, SHA256_Transform, 32);
    case Hash::kSha384:
      return large(SHA384_Init, SHA512_Transform, 48);
    case Hash::kSha512:
      return large(SHA512_Init, SHA512_Transform, 64);
    default:
      return false;
  }
}

}  // namespace diskwright
