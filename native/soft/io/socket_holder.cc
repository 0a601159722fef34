// Reads the kernel's table of UDP sockets and the descriptors of all processes.

#include "soft/io/socket_holder.h"

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

namespace verbena::io {
namespace {

namespace fs = std::filesystem;

struct TableEntry {
  unsigned long uid;
  unsigned long inode;  // 0 for sockets of the kernel itself
};

// The table prints addresses as host-order words of the network-order bytes.
std::string table_key(const void* address, size_t bytes, uint16_t port) {
  std::string key;
  char text[16];
  for (size_t offset = 0; offset < bytes; offset += 4) {
    uint32_t word;
    std::memcpy(&word, static_cast<const char*>(address) + offset, sizeof word);
    std::snprintf(text, sizeof text, "%08X", word);
    key += text;
  }
  std::snprintf(text, sizeof text, ":%04X", port);
  return key + text;
}

std::optional<TableEntry> find_in_table(const char* path, const std::string& key) {
  std::ifstream table(path);
  std::string line;
  std::getline(table, line);  // headings
  while (std::getline(table, line)) {
    std::istringstream fields(line);
    std::string slot, local, remote, state, queues, timer, retransmits, timeout;
    TableEntry entry{};
    fields >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> entry.uid >>
        timeout >> entry.inode;
    if (fields && local == key) return entry;
  }
  return std::nullopt;
}

// A socket on the wildcard address keeps the port from every other address.
std::optional<TableEntry> find_holder(const wire::Address& address, uint16_t port) {
  const char zeros[16] = {};
  const std::string v6_wildcard = table_key(zeros, 16, port);
  if (address.is_v4()) {
    for (const std::string& key :
         {table_key(address.v4_bytes(), 4, port), table_key(zeros, 4, port)}) {
      if (const auto entry = find_in_table("/proc/net/udp", key)) return entry;
    }
  } else if (const auto entry =
                 find_in_table("/proc/net/udp6", table_key(address.gid.data(), 16, port))) {
    return entry;
  }
  return find_in_table("/proc/net/udp6", v6_wildcard);
}

bool holds_socket(const fs::path& process, const std::string& link) {
  std::error_code error;
  for (fs::directory_iterator entry(process / "fd", error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code unreadable;
    if (fs::read_symlink(entry->path(), unreadable) == link) return true;
  }
  return false;
}

std::string describe_process(const TableEntry& holder) {
  const std::string link = "socket:[" + std::to_string(holder.inode) + "]";
  std::error_code error;
  for (fs::directory_iterator entry("/proc", error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string pid = entry->path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    if (!holds_socket(entry->path(), link)) continue;
    std::string name;
    std::ifstream comm(entry->path() / "comm");
    std::getline(comm, name);
    return ((("process " + pid).append(" (")).append(name)).append(")");
  }
  return "a process of user id " + std::to_string(holder.uid);
}

}  // namespace

std::string describe_udp_holder(const wire::Address& address, uint16_t port) {
  const auto holder = find_holder(address, port);
  if (!holder) return "";
  if (holder->inode == 0) return "the kernel, most likely its soft-RoCE driver (`rdma link`)";
  return describe_process(*holder);
}

}  // namespace verbena::io
