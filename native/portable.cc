// Keeps the addon from needing a newer C library than node's own programs do (glibc 2.28). A linker takes the newest version of each
// symbol; of those below, glibc 2.32 to 2.34 have a new version that does the same as the old one. Every reference, also those from
// libstdc++ and zstd, comes here by --wrap (binding.gyp) and goes on to the old version, which every glibc has kept.
#include <features.h>

#if defined(__x86_64__) && defined(__GLIBC__)
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

extern "C" {

int oldCreate(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
int oldJoin(pthread_t, void**);
int oldSigmask(int, const sigset_t*, sigset_t*);
int oldOnce(pthread_once_t*, void (*)());
int oldKeyCreate(pthread_key_t*, void (*)(void*));
int oldSetSpecific(pthread_key_t, const void*);
__asm__(".symver oldCreate, pthread_create@GLIBC_2.2.5");
__asm__(".symver oldJoin, pthread_join@GLIBC_2.2.5");
__asm__(".symver oldSigmask, pthread_sigmask@GLIBC_2.2.5");
__asm__(".symver oldOnce, pthread_once@GLIBC_2.2.5");
__asm__(".symver oldKeyCreate, pthread_key_create@GLIBC_2.2.5");
__asm__(".symver oldSetSpecific, pthread_setspecific@GLIBC_2.2.5");

int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* how, void* (*run)(void*), void* argument) {
  return oldCreate(thread, how, run, argument);
}

int __wrap_pthread_join(pthread_t thread, void** result) { return oldJoin(thread, result); }

int __wrap_pthread_sigmask(int how, const sigset_t* set, sigset_t* old) { return oldSigmask(how, set, old); }

int __wrap_pthread_once(pthread_once_t* once, void (*run)()) { return oldOnce(once, run); }

int __wrap_pthread_key_create(pthread_key_t* key, void (*end)(void*)) { return oldKeyCreate(key, end); }

int __wrap_pthread_setspecific(pthread_key_t key, const void* value) { return oldSetSpecific(key, value); }

// fstat was no symbol of the library before 2.33. On x86-64 the kernel's structure is the library's.
int __wrap_fstat64(int fd, struct stat64* info) { return static_cast<int>(syscall(SYS_fstat, fd, info)); }

int __wrap_fstat(int fd, struct stat* info) { return static_cast<int>(syscall(SYS_fstat, fd, info)); }

// Since 2.32 the library says here whether there is one thread only, which spares libstdc++ its atomics. There never is.
char __libc_single_threaded = 0;

}  // extern "C"
#endif
