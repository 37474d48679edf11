# The addon. Optional libraries are looked for when this file is read; what was found becomes a define, so that `Codecs.description` tells
# the truth. A static library is preferred: then the addon needs nothing but the C library, and is what `npm run prebuild` ships.
#   libdeflate   the system's, or inflate of node's zlib
#   zstd         from the source that the package zstd-napi carries, or the system's, or none: then zstd is refused by name
# libbz2 and liblzma are not linked: the system's are loaded when something is first decompressed by them (native/stream_codecs.cc).
# (Debian's static libdeflate can go into an addon, its static zstd cannot.) DISKWRIGHT_BUNDLED_CODECS=1 builds without the system's.
{
  'variables': {
    'libdeflate': '<!(sh native/find-library.sh libdeflate.h deflate)',
    'libzstd': '<!(sh native/find-library.sh zstd.h zstd)',
    'zstd_source': '<!(sh native/find-zstd-source.sh)',
    'portable': '<!(sh native/find-portable.sh)',
  },
  'targets': [
    {
      'target_name': 'diskwright',
      'sources': [
        'native/addon.cc',
        'native/aes.cc',
        'native/address.cc',
        'native/arena.cc',
        'native/background.cc',
        'native/bytes.cc',
        'native/cipher.cc',
        'native/codecs.cc',
        'native/compare.cc',
        'native/engine.cc',
        'native/files.cc',
        'native/fuse.cc',
        'native/fuse_binding.cc',
        'native/move.cc',
        'native/move_queue.cc',
        'native/ops.cc',
        'native/pbkdf2.cc',
        'native/pipes.cc',
        'native/pool.cc',
        'native/slice_buffers.cc',
        'native/socket.cc',
        'native/socket_binding.cc',
        'native/start.cc',
        'native/stream_codecs.cc',
        'native/tables.cc',
        'native/tables_binding.cc',
        'native/terminal.cc',
        'native/tweaks.cc',
        'native/uring.cc',
      ],
      'include_dirs': ['<!(node -p "require(\'node-addon-api\').include_dir")'],
      'defines': ['NAPI_VERSION=9', 'NAPI_DISABLE_CPP_EXCEPTIONS', 'NODE_ADDON_API_DISABLE_DEPRECATED'],
      'cflags': ['-O3', '-Wall', '-Wextra', '-Wno-unused-parameter', '-fvisibility=hidden'],
      'cflags_cc!': ['-std=gnu++17', '-std=gnu++20'],
      'cflags_cc': ['-std=c++20', '-fno-exceptions', '-fno-rtti'],
      'ldflags': ['-Wl,-z,relro', '-Wl,-z,now', '-Wl,--as-needed', '-Wl,--exclude-libs,ALL'],
      'conditions': [
        ['libdeflate!=""', {
          'defines': ['DISKWRIGHT_LIBDEFLATE=1'],
          'libraries': ['<(libdeflate)'],
        }],
        ['zstd_source!=""', {
          'defines': ['DISKWRIGHT_ZSTD=1'],
          'dependencies': ['<(zstd_source)/deps/zstd.gyp:libzstd'],
        }],
        ['zstd_source=="" and libzstd!=""', {
          'defines': ['DISKWRIGHT_ZSTD=1'],
          'libraries': ['<(libzstd)'],
        }],
        ['portable==1', {
          'sources': ['native/portable.cc'],
          'ldflags': [
            '-static-libstdc++',
            '-Wl,--gc-sections',
            '-Wl,--wrap=pthread_create,--wrap=pthread_join,--wrap=pthread_sigmask,--wrap=pthread_once',
            '-Wl,--wrap=pthread_key_create,--wrap=pthread_setspecific,--wrap=fstat,--wrap=fstat64',
          ],
        }],
      ],
    },
  ],
}
