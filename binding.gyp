# The npm build of the two native products; CMakeLists.txt builds the same sources for contributors.
# It compiles layer by layer, in a quarter of the time; CMake compiles file by file.
{
  'target_defaults': {
    'include_dirs': ['native'],
    'cflags_cc!': ['-std=gnu++17', '-fno-exceptions', '-fno-rtti'],
    'cflags_cc': ['-std=gnu++20', '-O2', '-fexceptions', '-fvisibility=hidden'],
    'cflags': ['-Wall', '-Wextra', '-Werror', '-pthread'],
    'cflags!': ['-O3', '-Wno-unused-parameter'],
  },
  'targets': [
    {
      'target_name': 'verbena',
      'sources': ['<!@(node scripts/native-sources.mjs addon --by-layer)'],
      'dependencies': ["<!(node -p \"require('node-addon-api').targets\"):node_addon_api_except"],
      # The verbs library is loaded at run time and never linked: see docs/architecture.md.
      'libraries': ['-ldl', '-lpthread'],
      'defines': ['NAPI_VERSION=9', 'NODE_ADDON_API_DISABLE_DEPRECATED'],
    },
    {
      'target_name': 'verbena-soft',
      'type': 'shared_library',
      'product_dir': '<(PRODUCT_DIR)',
      'product_prefix': 'lib',
      'product_name': 'verbena-soft',
      'product_extension': 'so',
      'sources': ['<!@(node scripts/native-sources.mjs soft --by-layer)'],
      'libraries': ['-ldl', '-lpthread'],
      'ldflags': [
        '-Wl,-Bsymbolic',
        '-Wl,--no-undefined',
        "-Wl,--version-script=<(module_root_dir)/native/soft/abi/exports.map",
      ],
    },
  ],
}
