// Files that the environment has this process write, none of which two processes share.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "soft/io/failure.h"

namespace verbena::io {

struct OutputFile {
  // Locked for as long as it is open, which marks the file as in use.
  int fd;
  std::string path;
};

// The pattern with the process id for each %p.
std::string with_process_id(std::string_view pattern);

// In `pattern`, %p becomes the process id. Without it the file has the very name given, unless
// another process writes there now: then the process id is put before the last extension
// (`out.pcap`, `out.1234.pcap`). A file left from before is emptied. `access` is O_WRONLY or
// O_RDWR; `variable` named the file.
std::optional<OutputFile> open_output_file(const char* variable, std::string_view pattern,
                                           int access, Failure& failure);

}  // namespace verbena::io
