// A network in virtual time; one seed decides every fault.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <queue>
#include <random>
#include <unordered_map>
#include <vector>

#include "soft/engine/ports.h"

namespace verbena::test {

using engine::TimeNs;
using wire::Address;

constexpr TimeNs kUs = 1'000;
constexpr TimeNs kMs = 1'000'000;
constexpr TimeNs kSecond = 1'000'000'000;

class SeededRandom : public engine::RandomSource {
 public:
  explicit SeededRandom(uint64_t seed) : generator_(seed) {}
  uint32_t next() override { return static_cast<uint32_t>(generator_()); }
  uint32_t below(uint32_t bound) { return next() % bound; }
  bool chance(double probability) { return next() < probability * 4294967296.0; }

 private:
  std::mt19937_64 generator_;
};

struct Faults {
  double drop = 0;
  double duplicate = 0;
  double reorder = 0;
  TimeNs delay = 10 * kUs;
  TimeNs reorder_delay = 200 * kUs;
  TimeNs spacing = 0;  // between frames to one host, at least
};

struct Frame {
  Address from;
  Address to;
  std::vector<std::byte> bytes;
};

// Carries frames in order of their arrival times.
class Network {
 public:
  explicit Network(uint64_t seed) : random_(seed) {}

  void send(TimeNs now, Frame frame) {
    ++sent;
    if (filter && !filter(frame)) return;
    if (random_.chance(faults.drop)) return;
    if (random_.chance(faults.duplicate)) schedule(now, frame);
    schedule(now, std::move(frame));
  }
  // A frame of somebody's own making arrives, whatever the faults.
  void inject(TimeNs now, Frame frame) { arrive(now + faults.delay, std::move(frame)); }
  bool empty() const { return arrivals_.empty(); }
  TimeNs next() const { return empty() ? engine::kNever : arrivals_.top().at; }
  Frame pop() {
    Frame frame = *arrivals_.top().frame;
    arrivals_.pop();
    return frame;
  }

  Faults faults;
  std::function<bool(const Frame&)> filter;  // false loses the frame
  uint64_t sent = 0;

 private:
  struct Arrival {
    TimeNs at;
    uint64_t order;
    std::shared_ptr<Frame> frame;
    bool operator>(const Arrival& other) const {
      return at != other.at ? at > other.at : order > other.order;
    }
  };

  void schedule(TimeNs now, Frame frame) {
    TimeNs& free = free_[frame.to];
    TimeNs at = free = std::max(free + faults.spacing, now + faults.delay);
    if (random_.chance(faults.reorder)) at += random_.below(faults.reorder_delay);
    arrive(at, std::move(frame));
  }
  void arrive(TimeNs at, Frame frame) {
    arrivals_.push({at, order_++, std::make_shared<Frame>(std::move(frame))});
  }

  SeededRandom random_;
  uint64_t order_ = 0;
  std::unordered_map<Address, TimeNs> free_;  // when the last frame to a host arrived
  std::priority_queue<Arrival, std::vector<Arrival>, std::greater<>> arrivals_;
};

}  // namespace verbena::test
