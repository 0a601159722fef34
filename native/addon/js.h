// Owns the way the addon includes Node-API: every file here uses this header instead of <napi.h>.
#pragma once

// A worker that is being terminated can no longer throw into JavaScript. Without this the attempt
// would end the whole process.
#define NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS

#include <napi.h>
