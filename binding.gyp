# The addon. Optional system libraries are looked for when this file is read, by trying their headers; what was
# found becomes a define, so that `Codecs.description` tells the truth. Set DISKWRIGHT_BUNDLED_CODECS=1 to build
# without them (zlib from node, zstd from the source that the package zstd-napi carries).
{
  'variables': {
    'have_libdeflate': '<!(sh native/find-header.sh libdeflate.h)',
    'have_libzstd': '<!(sh native/find-header.sh zstd.h)',
  },
  'targets': [
    {
      'target_name': 'diskwright',
      'sources': [
        'native/addon.cc',
        'native/address.cc',
        'native/arena.cc',
        'native/bytes.cc',
        'native/codecs.cc',
        'native/engine.cc',
        'native/files.cc',
        'native/ops.cc',
        'native/pool.cc',
        'native/socket.cc',
        'native/socket_binding.cc',
        'native/uring.cc',
      ],
      'include_dirs': ['<!(node -p "require(\'node-addon-api\').include_dir")'],
      'defines': ['NAPI_VERSION=9', 'NAPI_DISABLE_CPP_EXCEPTIONS', 'NODE_ADDON_API_DISABLE_DEPRECATED'],
      'cflags': ['-O3', '-Wall', '-Wextra', '-Wno-unused-parameter', '-fvisibility=hidden'],
      'cflags_cc!': ['-std=gnu++17', '-std=gnu++20'],
      'cflags_cc': ['-std=c++20', '-fno-exceptions', '-fno-rtti'],
      'ldflags': ['-Wl,-z,relro', '-Wl,-z,now', '-Wl,--as-needed'],
      'conditions': [
        ['have_libdeflate==1', {
          'defines': ['DISKWRIGHT_LIBDEFLATE=1'],
          'libraries': ['-ldeflate'],
        }],
        ['have_libzstd==1', {
          'libraries': ['-lzstd'],
        }, {
          'dependencies': ['<!(node -p "require(\'path\').relative(process.cwd(), require(\'path\').dirname(require.resolve(\'zstd-napi/package.json\')))")/deps/zstd.gyp:libzstd'],
        }],
      ],
    },
  ],
}
