// Plays seeds: `simulate [--seeds N] [--seed S] [--json] [--twice]`. A failure says how to play it
// again; the last line is a count, or JSON.
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

#include "check.h"
#include "support/failing_memory.h"
#include "world.h"

namespace verbena::test {
namespace {

struct Arguments {
  uint64_t seeds = 1000;
  uint64_t seed = 1;
  bool json = false;
  bool twice = false;  // each seed must do the same twice
};

Arguments parse(int count, char** words) {
  Arguments arguments;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    const bool valued = word == "--seeds" || word == "--seed";
    if (word == "--json") {
      arguments.json = true;
    } else if (word == "--twice") {
      arguments.twice = true;
    } else if (valued && i + 1 < count) {
      (word == "--seeds" ? arguments.seeds : arguments.seed) =
          std::strtoull(words[++i], nullptr, 10);
    } else {
      std::fprintf(stderr, "usage: simulate [--seeds N] [--seed S] [--json] [--twice]\n");
      std::exit(2);
    }
  }
  return arguments;
}

// What the crash of a seed, or a sanitizer's verdict, leaves behind: the line is ready before.
std::array<char, 128> replay_line;
size_t replay_bytes = 0;

void print_replay() {
  [[maybe_unused]] const ssize_t written = write(2, replay_line.data(), replay_bytes);
}

void prepare_replay(uint64_t seed) {
  const int bytes = std::snprintf(replay_line.data(), replay_line.size(),
                                  "  replay: npm run simulate -- --seeds 1 --seed %llu\n",
                                  static_cast<unsigned long long>(seed));
  replay_bytes = static_cast<size_t>(bytes);
}

void print_replay_on_crash() {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_set_death_callback(print_replay);
#else
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGABRT}) {
    std::signal(signal, [](int caught) {
      print_replay();
      std::signal(caught, SIG_DFL);
      std::raise(caught);
    });
  }
#endif
}

bool play(uint64_t seed, bool twice) {
  prepare_replay(seed);
  try {
    const Outcome outcome = World(seed).run();
    hold(!twice || World(seed).run().digest == outcome.digest, "a seed did not decide everything");
    return true;
  } catch (const Violation& violation) {
    std::fprintf(stderr, "seed %llu: %s\n", static_cast<unsigned long long>(seed),
                 violation.what());
    print_replay();
    return false;
  }
}

int run(const Arguments& arguments) {
  using Clock = std::chrono::steady_clock;
  const auto started = Clock::now();
  print_replay_on_crash();
  unsigned long long failures = 0;
  for (uint64_t i = 0; i < arguments.seeds; ++i) {
    if (!play(arguments.seed + i, arguments.twice)) ++failures;
  }
  const std::chrono::duration<double> seconds = Clock::now() - started;
  const auto seeds = static_cast<unsigned long long>(arguments.seeds);
  const double rate = 60.0 * static_cast<double>(seeds) / seconds.count();
  std::printf(arguments.json ? "{\"seeds\":%llu,\"failures\":%llu,\"seedsPerMinute\":%.0f}\n"
                             : "%llu seeds, %llu failures, %.0f seeds a minute\n",
              seeds, failures, rate);
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace verbena::test

int main(int count, char** words) {
  return verbena::test::run(verbena::test::parse(count, words));
}
