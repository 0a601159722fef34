// The other devices of this machine, and the rings through which packets pass to and from them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "soft/shm/attention.h"
#include "soft/shm/packet_ring.h"
#include "soft/shm/shared_memory.h"
#include "soft/wire/address.h"
#include "util/unique_fd.h"

namespace verbena::shm {

// Whoever has packets for a neighbour makes a ring for them and hands it over; the other way round
// there is another one. Until the neighbour has it, and where there can be none, packets take the
// network. Not thread-safe but for `fd` and the sleeps.
class Neighbours {
 public:
  // Four times what may be in flight: requests, answers, and what is repeated of either.
  static constexpr size_t kRingBytes = 4 << 20;
  static constexpr uint64_t kWindowBytes = kRingBytes / 4;
  // Each costs three descriptors and memory; beyond these, and beyond a sixteenth of the
  // descriptors that the process may have, packets take the network.
  static constexpr size_t kMostNeighbours = 256;

  // nullptr where the system does not allow it.
  static std::unique_ptr<Neighbours> open(const wire::Address& own);
  ~Neighbours();
  Neighbours(const Neighbours&) = delete;
  Neighbours& operator=(const Neighbours&) = delete;

  // Calls the device at the address, if there is one on this machine and it was not called yet.
  void meet(const wire::Address& address);
  // nullptr while packets for the address take the network.
  RingWriter* ring_to(const wire::Address& address);
  // What was committed to `ring_to(address)` can be read; the neighbour is woken if it sleeps. True
  // when one does not, and is to be reminded unless it reads soon.
  bool publish();
  // Rings at those that have read nothing of what was there for them at the last call. True when
  // others have something to read, and it is to be called again.
  bool remind();

  // Hands what neighbours have written to `take(source, bytes)`, some of each one's, and not all
  // neighbours' where much waits: the next call goes on with the next. Before the first packet of
  // a neighbour, `settle()` has to take what it sent by the network. True when there was any.
  template <class Take, class Settle>
  bool receive(Take&& take, Settle&& settle) {
    size_t work = 0;
    for (size_t looked = 0; looked < sources_.size() && work < kRoundBytes; ++looked) {
      next_source_ = next_source_ + 1 < sources_.size() ? next_source_ + 1 : 0;
      Source& source = *sources_[next_source_];
      if (!source.reader.waiting()) continue;
      if (std::exchange(source.is_new, false)) settle();
      work += take_turn(source, take);
    }
    if (work > 0) forget_the_gone();
    return work > 0;
  }
  bool waiting() const;
  // Whether any neighbour has called.
  bool any_source() const { return !sources_.empty(); }

  // Readable when a neighbour calls, has gone, or rings.
  int fd() const { return epoll_.get(); }
  // Readable when one rings.
  int doorbell() const { return doorbell_.fd.get(); }
  // Looks after what makes `fd` readable. Returns to whom there is a ring now, or no longer.
  std::span<const wire::Address> serve();

  // Around a sleep of any thread on `fd`. Packets that wait when it has begun must keep it awake.
  void begin_sleep() { sleepers_.begin(); }
  void end_sleep() { sleepers_.end(); }

  // In a forked child: peers must see when the parent ends.
  void abandon();

 private:
  // What a descriptor in the epoll set belongs to.
  enum class Role : uint8_t { kListener, kDoorbell, kSource, kDestination };
  struct Watched {
    Role role;
    util::UniqueFd fd;
  };
  // A neighbour that writes; without a ring while it has called and said nothing yet.
  struct Source : Watched {
    wire::Address address;
    Mapping memory;
    RingReader reader;
    bool is_new = true;

    bool gone() const { return !fd; }
  };
  struct Destination;

  static constexpr size_t kTurnBytes = 64 << 10;
  static constexpr size_t kRoundBytes = 4 * kTurnBytes;
  // What handling a packet costs besides its bytes, as so many more of them.
  static constexpr size_t kPacketCost = 128;

  // Returns what it cost, in bytes; never 0.
  template <class Take>
  size_t take_turn(Source& source, Take&& take) {
    size_t work = 1;
    while (work < kTurnBytes) {
      const auto packet = source.reader.next();
      if (!packet) break;
      work += kPacketCost + packet->size();
      take(source.address, *packet);
    }
    source.reader.release();
    if (source.reader.broken()) hang_up(source);
    return work;
  }

  Neighbours(const wire::Address& own, util::UniqueFd epoll, util::UniqueFd listener,
             util::UniqueFd doorbell, SharedMemory attention);
  bool watch(Watched& watched);
  void hang_up(Watched& watched);
  void on_event(Watched& watched);
  void answer_calls();
  void on_hello(Source& source);
  void on_welcome(Destination& destination);
  static bool remind(Destination& destination);
  void forget(Destination& destination);
  void forget_the_gone();

  const wire::Address own_;
  const size_t most_neighbours_;
  util::UniqueFd epoll_;
  Watched listener_;
  Watched doorbell_;
  SharedMemory attention_;
  Sleepers sleepers_;
  std::vector<std::unique_ptr<Source>> sources_;
  size_t next_source_ = 0;
  std::unordered_map<wire::Address, std::unique_ptr<Destination>> destinations_;
  Destination* latest_ = nullptr;      // the last that was asked for
  std::vector<Destination*> written_;  // has room for all of them
  std::vector<wire::Address> changed_;
};

}  // namespace verbena::shm
