// Marks the functions that libverbena-soft.so exports; exports.map gives them libibverbs' symbol
// versions.
#pragma once

#define VERBENA_EXPORT extern "C" __attribute__((visibility("default")))
