#include "cipher.h"

#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

#include "aes.h"
#include "pbkdf2.h"
#include "tweaks.h"

// What is used of OpenSSL. All of it is weak: an addon that is loaded into a node without OpenSSL has null pointers here.
extern "C" {
struct evp_cipher_ctx_st;
struct evp_cipher_st;
struct evp_md_st;
#define WEAK __attribute__((weak))
WEAK evp_cipher_ctx_st* EVP_CIPHER_CTX_new(void);
WEAK void EVP_CIPHER_CTX_free(evp_cipher_ctx_st*);
WEAK int EVP_CIPHER_CTX_set_padding(evp_cipher_ctx_st*, int);
WEAK int EVP_CipherInit_ex(evp_cipher_ctx_st*, const evp_cipher_st*, void*, const unsigned char*, const unsigned char*, int);
WEAK int EVP_CipherUpdate(evp_cipher_ctx_st*, unsigned char*, int*, const unsigned char*, int);
WEAK const evp_cipher_st* EVP_aes_128_ecb(void);
WEAK const evp_cipher_st* EVP_aes_192_ecb(void);
WEAK const evp_cipher_st* EVP_aes_256_ecb(void);
WEAK const evp_cipher_st* EVP_aes_128_cbc(void);
WEAK const evp_cipher_st* EVP_aes_192_cbc(void);
WEAK const evp_cipher_st* EVP_aes_256_cbc(void);
WEAK const evp_cipher_st* EVP_aes_128_ctr(void);
WEAK const evp_cipher_st* EVP_aes_192_ctr(void);
WEAK const evp_cipher_st* EVP_aes_256_ctr(void);
WEAK const evp_md_st* EVP_sha1(void);
WEAK const evp_md_st* EVP_sha224(void);
WEAK const evp_md_st* EVP_sha256(void);
WEAK const evp_md_st* EVP_sha384(void);
WEAK const evp_md_st* EVP_sha512(void);
WEAK const evp_md_st* EVP_ripemd160(void);
WEAK const evp_md_st* EVP_md5(void);
WEAK int PKCS5_PBKDF2_HMAC(const char*, int, const unsigned char*, int, int, const evp_md_st*, int, unsigned char*);
#undef WEAK
}

namespace diskwright {

namespace {

constexpr size_t kBlock = kAesBlock;
/** Sectors whose blocks and tweaks fit into a core's first cache together. */
constexpr size_t kBatch = 16;
constexpr size_t kPage = 4096;
/** Contexts that are kept for the next request, of each cipher. */
constexpr size_t kKeptContexts = 16;

using Context = evp_cipher_ctx_st;
struct FreeContext {
  void operator()(Context* context) const { EVP_CIPHER_CTX_free(context); }
};
using OwnContext = std::unique_ptr<Context, FreeContext>;

/** AES as OpenSSL is to do it: XTS is made of ECB. */
const evp_cipher_st* aes(CipherMode mode, size_t keyBytes) {
  const size_t size = keyBytes == 16 ? 0 : keyBytes == 24 ? 1 : 2;
  if (mode == CipherMode::kCbc) return size == 0 ? EVP_aes_128_cbc() : size == 1 ? EVP_aes_192_cbc() : EVP_aes_256_cbc();
  if (mode == CipherMode::kCtr) return size == 0 ? EVP_aes_128_ctr() : size == 1 ? EVP_aes_192_ctr() : EVP_aes_256_ctr();
  return size == 0 ? EVP_aes_128_ecb() : size == 1 ? EVP_aes_192_ecb() : EVP_aes_256_ecb();
}

bool isKeyLength(size_t bytes) { return bytes == 16 || bytes == 24 || bytes == 32; }

OwnContext makeContext(CipherMode mode, const uint8_t* key, size_t keyBytes, bool encrypts) {
  OwnContext context(EVP_CIPHER_CTX_new());
  if (!context) return nullptr;
  const bool hasVector = mode == CipherMode::kCbc || mode == CipherMode::kCtr;
  const uint8_t noVector[kBlock] = {};
  const uint8_t* const vector = hasVector ? noVector : nullptr;
  if (EVP_CipherInit_ex(context.get(), aes(mode, keyBytes), nullptr, key, vector, encrypts ? 1 : 0) != 1) return nullptr;
  EVP_CIPHER_CTX_set_padding(context.get(), 0);
  return context;
}

bool update(Context* context, const uint8_t* in, uint8_t* out, size_t bytes) {
  int made = 0;
  return EVP_CipherUpdate(context, out, &made, in, static_cast<int>(bytes)) == 1 && made == static_cast<int>(bytes);
}

/** The contexts of one request; null where the cipher has no such step. */
struct Contexts {
  OwnContext data;
  /** Makes the first tweak of a sector, for XTS. */
  OwnContext tweak;
  /** Makes the vector of a sector, for kEssiv. */
  OwnContext essiv;
};

/** The AES instructions of a path. */
AesUnit unitOf(CipherPath path) {
  return path == CipherPath::kVaes ? AesUnit::kVaes : path == CipherPath::kAesNi ? AesUnit::kAesNi : AesUnit::kNone;
}

/** The secrets of a cipher, in a page of their own. */
struct KeyPage {
  /** Of XTS both, one behind the other. */
  uint8_t key[64];
  uint8_t ivKey[32];
  /** Where the processor's AES is used: for the data, the tweaks, and the vectors of kEssiv. */
  AesKeys data;
  AesKeys tweak;
  AesKeys essiv;
};
static_assert(sizeof(KeyPage) <= kPage);

class Cipher {
 public:
  Cipher(CipherMode mode, IvMaker ivs, CipherPath path)
      : mode_(mode), ivs_(ivs), path_(path), unit_(mode == CipherMode::kXts ? unitOf(path) : AesUnit::kNone) {}
  Cipher(const Cipher&) = delete;
  Cipher& operator=(const Cipher&) = delete;
  ~Cipher() {
    if (keys_ == nullptr) return;
    wipe(keys_, kPage);
    munmap(keys_, kPage);
  }

  int take(const uint8_t* key, size_t keyBytes, const uint8_t* ivKey, size_t ivKeyBytes) {
    const size_t each = mode_ == CipherMode::kXts ? keyBytes / 2 : keyBytes;
    if (!isKeyLength(each) || (mode_ == CipherMode::kXts && keyBytes % 2 != 0)) return -EINVAL;
    if (ivs_ == IvMaker::kEssiv ? !isKeyLength(ivKeyBytes) : ivKeyBytes != 0) return -EINVAL;
    void* page = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return -ENOMEM;
    keepPrivate(static_cast<uint8_t*>(page), kPage, true);
    keys_ = new (page) KeyPage;
    std::memcpy(keys_->key, key, keyBytes);
    keyBytes_ = each;
    ivKeyBytes_ = ivKeyBytes;
    if (ivKeyBytes > 0) std::memcpy(keys_->ivKey, ivKey, ivKeyBytes);
    if (unit_ == AesUnit::kNone) return 0;
    expandKey(keys_->key, each, keys_->data);
    expandKey(keys_->key + each, each, keys_->tweak);
    if (ivKeyBytes > 0) expandKey(keys_->ivKey, ivKeyBytes, keys_->essiv);
    return 0;
  }

  int run(bool encrypts, uint64_t sector, const uint8_t* in, uint8_t* out, uint64_t bytes) {
    if (unit_ != AesUnit::kNone) {
      runXts(encrypts, sector, in, out, bytes / kCipherSectorBytes);
      return 0;
    }
    Contexts own;
    if (!borrow(own, encrypts)) return -ENOMEM;
    bool good = true;
    for (uint64_t at = 0; good && at < bytes; at += kBatch * kCipherSectorBytes) {
      const auto here = static_cast<size_t>(std::min<uint64_t>(kBatch * kCipherSectorBytes, bytes - at));
      good = batch(own, sector + at / kCipherSectorBytes, in + at, out + at, here, encrypts);
    }
    if (!good) return -EIO;
    giveBack(std::move(own), encrypts);
    return 0;
  }

 private:
  /** By the processor's AES. */
  void runXts(bool encrypts, uint64_t sector, const uint8_t* in, uint8_t* out, uint64_t sectors) const {
    alignas(16) uint8_t tweaks[kBatch * kBlock];
    for (uint64_t done = 0; done < sectors; done += kBatch) {
      const auto here = static_cast<size_t>(std::min<uint64_t>(kBatch, sectors - done));
      numberVectors(sector + done, here, tweaks);
      if (ivs_ == IvMaker::kEssiv) encryptBlocks(keys_->essiv, tweaks, here);
      encryptBlocks(keys_->tweak, tweaks, here);
      cryptXts(unit_, keys_->data, encrypts, tweaks, in + done * kCipherSectorBytes, out + done * kCipherSectorBytes, here);
    }
    wipe(tweaks, sizeof tweaks);
  }

  bool batch(Contexts& own, uint64_t sector, const uint8_t* in, uint8_t* out, size_t bytes, bool encrypts) const {
    if (mode_ == CipherMode::kEcb) return update(own.data.get(), in, out, bytes);
    const size_t sectors = bytes / kCipherSectorBytes;
    alignas(16) uint8_t vectors[kBatch * kBlock];
    if (!makeVectors(own, sector, sectors, vectors)) return false;
    if (mode_ == CipherMode::kXts) return xts(own, vectors, in, out, sectors);
    for (size_t i = 0; i < sectors; i++) {
      const size_t at = i * kCipherSectorBytes;
      const uint8_t* vector = vectors + i * kBlock;
      if (EVP_CipherInit_ex(own.data.get(), nullptr, nullptr, nullptr, vector, encrypts ? 1 : 0) != 1) return false;
      if (!update(own.data.get(), in + at, out + at, kCipherSectorBytes)) return false;
    }
    return true;
  }

  /** The vectors of `count` sectors, before a key makes others of them. */
  void numberVectors(uint64_t sector, size_t count, uint8_t* vectors) const {
    std::memset(vectors, 0, count * kBlock);
    if (ivs_ == IvMaker::kNone) return;
    for (size_t i = 0; i < count; i++) {
      uint64_t number = sector + i;
      if (ivs_ == IvMaker::kPlain) number &= 0xffffffff;
      std::memcpy(vectors + i * kBlock, &number, 8);
    }
  }

  bool makeVectors(Contexts& own, uint64_t sector, size_t count, uint8_t* vectors) const {
    numberVectors(sector, count, vectors);
    return !own.essiv || update(own.essiv.get(), vectors, vectors, count * kBlock);
  }

  bool xts(Contexts& own, uint8_t* vectors, const uint8_t* in, uint8_t* out, size_t sectors) const {
    if (!update(own.tweak.get(), vectors, vectors, sectors * kBlock)) return false;
    const size_t bytes = sectors * kCipherSectorBytes;
    alignas(32) uint8_t tweaks[kBatch * kCipherSectorBytes];
    const bool byAvx2 = path_ == CipherPath::kOpensslAvx2;
    (byAvx2 ? mixTweaksAvx2 : mixTweaks)(vectors, tweaks, in, out, sectors);
    if (!update(own.data.get(), out, out, bytes)) return false;
    (byAvx2 ? xorIntoAvx2 : xorInto)(out, out, tweaks, bytes);
    return true;
  }

  bool borrow(Contexts& own, bool encrypts) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      std::vector<Contexts>& kept = kept_[encrypts ? 1 : 0];
      if (!kept.empty()) {
        own = std::move(kept.back());
        kept.pop_back();
        return true;
      }
    }
    own.data = makeContext(mode_, keys_->key, keyBytes_, encrypts);
    if (mode_ == CipherMode::kXts) own.tweak = makeContext(CipherMode::kEcb, keys_->key + keyBytes_, keyBytes_, true);
    if (ivs_ == IvMaker::kEssiv) own.essiv = makeContext(CipherMode::kEcb, keys_->ivKey, ivKeyBytes_, true);
    return own.data && (mode_ != CipherMode::kXts || own.tweak) && (ivs_ != IvMaker::kEssiv || own.essiv);
  }

  void giveBack(Contexts own, bool encrypts) {
    std::lock_guard<std::mutex> lock(mutex_);
    std::vector<Contexts>& kept = kept_[encrypts ? 1 : 0];
    if (kept.size() < kKeptContexts) kept.push_back(std::move(own));
  }

  const CipherMode mode_;
  const IvMaker ivs_;
  const CipherPath path_;
  /** kNone where OpenSSL does it. */
  const AesUnit unit_;
  /** At the start of a page that has nothing else. */
  KeyPage* keys_ = nullptr;
  /** Of one AES key. */
  size_t keyBytes_ = 0;
  size_t ivKeyBytes_ = 0;
  std::mutex mutex_;
  /** For decryption, and for encryption. */
  std::vector<Contexts> kept_[2];
};

/** The open ciphers of the process. Never destroyed: a worker of an engine that is not closed may still use one when the process ends. */
struct Ciphers {
  std::mutex mutex;
  std::unordered_map<int, std::shared_ptr<Cipher>> byNumber;
  int last = 0;
};

Ciphers& ciphers() {
  static Ciphers* const all = new Ciphers;
  return *all;
}

const evp_md_st* hashOf(Hash hash) {
  const auto of = [](const evp_md_st* (*get)()) { return get == nullptr ? nullptr : get(); };
  switch (hash) {
    case Hash::kSha1:
      return of(EVP_sha1);
    case Hash::kSha224:
      return of(EVP_sha224);
    case Hash::kSha256:
      return of(EVP_sha256);
    case Hash::kSha384:
      return of(EVP_sha384);
    case Hash::kSha512:
      return of(EVP_sha512);
    case Hash::kRipemd160:
      return of(EVP_ripemd160);
    case Hash::kMd5:
      return of(EVP_md5);
  }
  return nullptr;
}

int64_t threadNs() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return int64_t{now.tv_sec} * 1000000000 + now.tv_nsec;
}

}  // namespace

bool hasCiphers() {
  return EVP_CIPHER_CTX_new != nullptr && EVP_CIPHER_CTX_free != nullptr && EVP_CIPHER_CTX_set_padding != nullptr &&
         EVP_CipherInit_ex != nullptr && EVP_CipherUpdate != nullptr && EVP_aes_128_ecb != nullptr && EVP_aes_192_ecb != nullptr &&
         EVP_aes_256_ecb != nullptr && EVP_aes_128_cbc != nullptr && EVP_aes_192_cbc != nullptr && EVP_aes_256_cbc != nullptr &&
         EVP_aes_128_ctr != nullptr && EVP_aes_192_ctr != nullptr && EVP_aes_256_ctr != nullptr &&
         PKCS5_PBKDF2_HMAC != nullptr;
}

bool hasCipherPath(CipherPath path) {
  static const bool avx2 = hasAvx2();
  static const AesUnit best = bestAesUnit();
  return path == CipherPath::kOpensslAvx2 ? avx2 : path >= CipherPath::kOpenssl && path <= CipherPath::kVaes && unitOf(path) <= best;
}

CipherPath bestCipherPath() {
  for (CipherPath path : {CipherPath::kVaes, CipherPath::kAesNi, CipherPath::kOpensslAvx2}) {
    if (hasCipherPath(path)) return path;
  }
  return CipherPath::kOpenssl;
}

int openCipher(CipherMode mode, IvMaker ivs, const uint8_t* key, size_t keyBytes, const uint8_t* ivKey, size_t ivKeyBytes, CipherPath path) {
  if (!hasCiphers() || !hasCipherPath(path)) return -EOPNOTSUPP;
  const auto cipher = std::make_shared<Cipher>(mode, ivs, path);
  const int wrong = cipher->take(key, keyBytes, ivKey, ivKeyBytes);
  if (wrong != 0) return wrong;
  Ciphers& all = ciphers();
  std::lock_guard<std::mutex> lock(all.mutex);
  if (all.last == INT_MAX) return -EMFILE;
  all.byNumber.emplace(++all.last, cipher);
  return all.last;
}

void closeCipher(int number) {
  Ciphers& all = ciphers();
  std::lock_guard<std::mutex> lock(all.mutex);
  all.byNumber.erase(number);
}

int runCipher(int number, bool encrypts, uint64_t sector, const uint8_t* in, uint8_t* out, uint64_t bytes) {
  std::shared_ptr<Cipher> cipher;
  {
    Ciphers& all = ciphers();
    std::lock_guard<std::mutex> lock(all.mutex);
    const auto found = all.byNumber.find(number);
    if (found == all.byNumber.end()) return -EBADF;
    cipher = found->second;
  }
  if (bytes % kCipherSectorBytes != 0) return -EINVAL;
  return cipher->run(encrypts, sector, in, out, bytes);
}

int64_t deriveKey(Hash hash, const uint8_t* password, size_t passwordBytes, const uint8_t* salt, size_t saltBytes, uint64_t iterations, uint8_t* key,
                  size_t keyBytes) {
  if (iterations == 0 || iterations > INT_MAX || passwordBytes > INT_MAX || saltBytes > INT_MAX || keyBytes > INT_MAX) return -EINVAL;
  if (!hasCiphers()) return -EOPNOTSUPP;
  const evp_md_st* const digest = hashOf(hash);
  if (digest == nullptr) return -EOPNOTSUPP;
  const int64_t before = threadNs();
  if (fastPbkdf2(static_cast<int32_t>(hash), password, passwordBytes, salt, saltBytes, iterations, key, keyBytes)) return threadNs() - before;
  const int good = PKCS5_PBKDF2_HMAC(reinterpret_cast<const char*>(password), static_cast<int>(passwordBytes), salt, static_cast<int>(saltBytes),
                                     static_cast<int>(iterations), digest, static_cast<int>(keyBytes), key);
  // A hash that the configuration of OpenSSL keeps back (RIPEMD-160 of the legacy provider) fails here.
  return good == 1 ? threadNs() - before : -EOPNOTSUPP;
}

void keepPrivate(uint8_t* data, size_t bytes, bool keep) {
  if (!keep) {
    munlock(data, bytes);
    madvise(data, bytes, MADV_DODUMP);
    return;
  }
  // Each is a wish: a process may lock a few pages only, and goes on without.
  (void)mlock(data, bytes);
  madvise(data, bytes, MADV_DONTDUMP);
}

void wipe(void* data, size_t bytes) {
  std::memset(data, 0, bytes);
  __asm__ __volatile__("" : : "r"(data) : "memory");
}

}  // namespace diskwright
