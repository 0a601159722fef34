// Checks the address type: families, text, socket addresses, equality and hashing.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <net/if.h>

#include <unordered_set>

#include "soft/wire/address.h"

namespace verbena::wire {
namespace {

TEST(Address, DefaultIsUnspecified) {
  EXPECT_TRUE(Address{}.is_unspecified());
  EXPECT_FALSE(Address{}.is_v4());
  EXPECT_TRUE(Address::v4(0, 0, 0, 0).is_unspecified());
  EXPECT_FALSE(Address::v4(10, 0, 0, 1).is_unspecified());
}

TEST(Address, MapsIpv4IntoTheGid) {
  const Address address = Address::v4(10, 1, 2, 3);
  EXPECT_TRUE(address.is_v4());
  EXPECT_EQ(address.gid[10], 0xFF);
  EXPECT_EQ(address.gid[11], 0xFF);
  EXPECT_EQ(address.v4_bytes()[0], 10);
  EXPECT_EQ(address.v4_bytes()[3], 3);
  EXPECT_EQ(Address::from_gid(address.gid.data()), address);
}

TEST(Address, ParsesAndPrintsTheSameText) {
  for (const char* text : {"127.0.0.1", "10.20.30.40", "fd00::1", "::1", "2001:db8::ff"}) {
    const auto address = Address::parse(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->to_string(), text);
  }
}

TEST(Address, TreatsMappedTextAsIpv4) {
  EXPECT_EQ(Address::parse("::ffff:10.0.0.1"), Address::v4(10, 0, 0, 1));
  EXPECT_EQ(Address::parse("::ffff:10.0.0.1")->to_string(), "10.0.0.1");
}

TEST(Address, RefusesTextThatIsNoAddress) {
  using namespace std::string_view_literals;
  for (const std::string_view text :
       {""sv, "10.0.0"sv, "10.0.0.256"sv, "localhost"sv, "fd00::g"sv, "10.0.0.1 "sv, "fd00::1%lo"sv,
        "fe80::1%"sv, "fe80::1%no-such-interface"sv, "10.0.0.1\0x"sv}) {
    EXPECT_FALSE(Address::parse(text)) << text;
  }
}

TEST(Address, KeepsTheScopeOfLinkLocalAddressesOutOfEquality) {
  const auto scoped = Address::parse("fe80::1%lo");
  ASSERT_TRUE(scoped);
  EXPECT_EQ(scoped->scope, if_nametoindex("lo"));
  EXPECT_EQ(scoped->to_string(), "fe80::1%lo");
  EXPECT_EQ(*scoped, *Address::parse("fe80::1"));
  EXPECT_EQ(std::hash<Address>{}(*scoped), std::hash<Address>{}(*Address::parse("fe80::1")));
}

TEST(Address, SurvivesTheSocketAddressAndBack) {
  for (const char* text : {"127.3.4.5", "fd00::2", "fe80::7%lo"}) {
    const auto address = Address::parse(text);
    ASSERT_TRUE(address);
    sockaddr_storage storage{};
    const socklen_t length = address->to_sockaddr(4791, storage);
    const auto back = Address::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), length);
    ASSERT_TRUE(back);
    EXPECT_EQ(*back, *address);
    EXPECT_EQ(back->scope, address->scope);
  }
}

TEST(Address, RefusesForeignAndShortSocketAddresses) {
  sockaddr_storage storage{};
  const socklen_t length = Address::v4(127, 0, 0, 1).to_sockaddr(1, storage);
  const auto* name = reinterpret_cast<sockaddr*>(&storage);
  EXPECT_FALSE(Address::from_sockaddr(name, length - 1));
  EXPECT_FALSE(Address::from_sockaddr(name, 0));
  storage.ss_family = AF_UNIX;
  EXPECT_FALSE(Address::from_sockaddr(name, sizeof storage));
}

TEST(Address, KnowsLoopbackAndLinkLocal) {
  EXPECT_TRUE(Address::v4(127, 200, 1, 1).is_loopback());
  EXPECT_TRUE(Address::parse("::1")->is_loopback());
  EXPECT_FALSE(Address::parse("::2")->is_loopback());
  EXPECT_FALSE(Address::v4(10, 0, 0, 1).is_loopback());
  EXPECT_TRUE(Address::parse("febf::1")->is_link_local());
  EXPECT_FALSE(Address::parse("fec0::1")->is_link_local());
}

TEST(Address, HashSpreadsNeighbouringAddresses) {
  std::unordered_set<size_t> low_bits;
  for (int host = 0; host < 4096; ++host) {
    const Address address =
        Address::v4(127, 1, static_cast<uint8_t>(host >> 8), static_cast<uint8_t>(host));
    low_bits.insert(std::hash<Address>{}(address)&0xFFFF);
  }
  // 4096 random values in 65,536 slots leave about 3969 distinct ones.
  EXPECT_GT(low_bits.size(), 3700u);
}

}  // namespace
}  // namespace verbena::wire
