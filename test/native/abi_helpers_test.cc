// Compares the helper functions that need no device with those of the machine's libibverbs.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <infiniband/sa.h>
#include <infiniband/verbs.h>
#include <rdma/ib_user_sa.h>
#include <rdma/ib_user_verbs.h>

#include <cstring>
#include <random>
#include <set>
#include <string>

extern "C" {
const char* ibv_get_sysfs_path();
int ibv_read_sysfs_file(const char*, const char*, char*, size_t);
void ibv_copy_ah_attr_from_kern(ibv_ah_attr*, ib_uverbs_ah_attr*);
void ibv_copy_qp_attr_from_kern(ibv_qp_attr*, ib_uverbs_qp_attr*);
void ibv_copy_path_rec_from_kern(ibv_sa_path_rec*, ib_user_path_rec*);
void ibv_copy_path_rec_to_kern(ib_user_path_rec*, ibv_sa_path_rec*);
}

namespace verbena::test {
namespace {

class Helpers : public testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(library, nullptr) << dlerror(); }
  ~Helpers() override { dlclose(library); }

  // The function of the same name and type in libibverbs.
  template <class Function>
  Function* real(Function* ours, const char* name) {
    auto* theirs = reinterpret_cast<Function*>(dlsym(library, name));
    EXPECT_NE(theirs, nullptr) << name;
    EXPECT_NE(theirs, ours) << name << " is not ours";
    return theirs;
  }

  void* library = dlopen("libibverbs.so.1", RTLD_NOW | RTLD_LOCAL);
};

#define REAL(function) real(&function, #function)

TEST_F(Helpers, RatesConvertAsInLibibverbs) {
  for (int code = 0; code < 32; ++code) {
    const auto rate = static_cast<ibv_rate>(code);
    EXPECT_EQ(ibv_rate_to_mult(rate), REAL(ibv_rate_to_mult)(rate)) << code;
    EXPECT_EQ(ibv_rate_to_mbps(rate), REAL(ibv_rate_to_mbps)(rate)) << code;
  }
  const auto real_mult = REAL(mult_to_ibv_rate);
  for (int multiple = -2; multiple < 600; ++multiple) {
    EXPECT_EQ(mult_to_ibv_rate(multiple), real_mult(multiple)) << multiple;
  }
  const auto real_mbps = REAL(mbps_to_ibv_rate);
  for (int mbps = -2; mbps < 1'300'000; ++mbps) {
    ASSERT_EQ(mbps_to_ibv_rate(mbps), real_mbps(mbps)) << mbps;
  }
}

template <class Code>
void every_code_has_its_own_words(const char* (*words)(Code), int first, int last, int unknown) {
  std::set<std::string> seen;
  for (int code = first; code <= last; ++code) {
    const std::string text = words(static_cast<Code>(code));
    EXPECT_TRUE(seen.insert(text).second) << text;
    EXPECT_NE(text, "unknown");
  }
  EXPECT_STREQ(words(static_cast<Code>(unknown)), "unknown");
}

TEST_F(Helpers, EveryCodeHasItsOwnWords) {
  every_code_has_its_own_words(&ibv_wc_status_str, IBV_WC_SUCCESS, IBV_WC_TM_RNDV_INCOMPLETE, 31);
  every_code_has_its_own_words(&ibv_event_type_str, IBV_EVENT_CQ_ERR, IBV_EVENT_WQ_FATAL, 31);
  every_code_has_its_own_words(&ibv_node_type_str, IBV_NODE_CA, IBV_NODE_UNSPECIFIED, 0);
  every_code_has_its_own_words(&ibv_port_state_str, IBV_PORT_NOP, IBV_PORT_ACTIVE_DEFER, 7);
}

TEST_F(Helpers, SysfsFilesReadAsInLibibverbs) {
  EXPECT_STREQ(ibv_get_sysfs_path(), REAL(ibv_get_sysfs_path)());
  const auto real_read = REAL(ibv_read_sysfs_file);
  char ours[64];
  char theirs[64];
  const int length = real_read("/proc/self", "comm", theirs, sizeof theirs);
  EXPECT_EQ(ibv_read_sysfs_file("/proc/self", "comm", ours, sizeof ours), length);
  EXPECT_STREQ(ours, theirs);
  // The file is one newline longer than the text.
  for (const int missing : {0, 1, 2}) {
    const auto size = static_cast<size_t>(length + 2 - missing);
    EXPECT_EQ(ibv_read_sysfs_file("/proc/self", "comm", ours, size),
              real_read("/proc/self", "comm", theirs, size))
        << missing;
  }
  EXPECT_EQ(ibv_read_sysfs_file("/proc/self", "nothing", ours, sizeof ours), -1);
}

// Structures of random bytes, converted by both.
class Conversions : public Helpers {
 protected:
  template <class To, class From>
  void same(void (*ours)(To*, From*), void (*theirs)(To*, From*)) {
    std::minstd_rand random(1);
    for (int round = 0; round < 100; ++round) {
      From from;
      for (size_t i = 0; i < sizeof from; ++i) {
        reinterpret_cast<unsigned char*>(&from)[i] = static_cast<unsigned char>(random() >> 8);
      }
      To ours_to;
      To theirs_to;
      std::memset(&ours_to, 0, sizeof ours_to);
      std::memset(&theirs_to, 0, sizeof theirs_to);
      ours(&ours_to, &from);
      theirs(&theirs_to, &from);
      ASSERT_EQ(std::memcmp(&ours_to, &theirs_to, sizeof ours_to), 0);
    }
  }
};

TEST_F(Conversions, OfAddresses) {
  same(&ibv_copy_ah_attr_from_kern, REAL(ibv_copy_ah_attr_from_kern));
}

TEST_F(Conversions, OfQueuePairAttributes) {
  same(&ibv_copy_qp_attr_from_kern, REAL(ibv_copy_qp_attr_from_kern));
}

TEST_F(Conversions, OfPathRecords) {
  same(&ibv_copy_path_rec_from_kern, REAL(ibv_copy_path_rec_from_kern));
  same(&ibv_copy_path_rec_to_kern, REAL(ibv_copy_path_rec_to_kern));
}

}  // namespace
}  // namespace verbena::test
