// Creates and destroys address handles, also for the answer to a datagram.
#include "soft/abi/ah.h"

#include <netinet/in.h>
#include <netinet/ip.h>

#include <cstring>

#include "soft/abi/export.h"
#include "soft/abi/guard.h"

namespace verbena::soft {
namespace {

Ah* create_ah(Pd& pd, const ibv_ah_attr& attributes) {
  require(attributes.port_num == kPort, EINVAL);
  // RoCE has no other way to say where to.
  require(attributes.is_global != 0 && attributes.grh.sgid_index == 0, EINVAL);
  const auto peer = wire::Address::from_gid(&attributes.grh.dgid);
  require(!peer.is_unspecified(), EINVAL);
  require(peer.is_v4() == pd.owner().lane->address().is_v4(), EINVAL);
  pd.owner().lane->meet(peer);
  return new Ah(pd, peer);
}

// A RoCE v2 packet over IPv4 leaves its IP header in the last 20 of the GRH's 40 bytes (IBTA annex
// A17.4.5.2).
bool holds_ipv4(const ibv_grh& grh) {
  constexpr uint8_t kIpVersion6 = 6;
  const auto* bytes = reinterpret_cast<const uint8_t*>(&grh);
  return bytes[0] >> 4 != kIpVersion6;
}

void reply_to_ipv4(const ibv_grh& grh, ibv_ah_attr& attributes) {
  iphdr header;
  std::memcpy(&header, reinterpret_cast<const std::byte*>(&grh) + sizeof grh - sizeof header,
              sizeof header);
  require(header.version == 4, EINVAL);
  uint8_t source[4];
  std::memcpy(source, &header.saddr, sizeof source);
  const auto peer = wire::Address::v4(source[0], source[1], source[2], source[3]);
  std::memcpy(&attributes.grh.dgid, peer.gid.data(), peer.gid.size());
  attributes.grh.traffic_class = header.tos;
}

void reply_to_ipv6(const ibv_grh& grh, ibv_ah_attr& attributes) {
  const uint32_t first_word = be32toh(grh.version_tclass_flow);
  attributes.grh.dgid = grh.sgid;
  attributes.grh.traffic_class = static_cast<uint8_t>(first_word >> 20);
  attributes.grh.flow_label = first_word & IB_GRH_FLOWLABEL_MASK;
}

void init_from_completion(uint8_t port, const ibv_wc& completion, const ibv_grh* grh,
                          ibv_ah_attr& attributes) {
  attributes = {};
  require(port == kPort, EINVAL);
  require((completion.wc_flags & IBV_WC_GRH) != 0 && grh != nullptr, EINVAL);
  constexpr uint8_t kHopLimit = 64;
  attributes.is_global = 1;
  attributes.port_num = port;
  attributes.sl = completion.sl;
  attributes.grh.hop_limit = kHopLimit;
  if (holds_ipv4(*grh)) {
    reply_to_ipv4(*grh, attributes);
  } else {
    reply_to_ipv6(*grh, attributes);
  }
}

}  // namespace
}  // namespace verbena::soft

using verbena::soft::Ah;
using verbena::soft::Pd;

VERBENA_EXPORT ibv_ah* ibv_create_ah(ibv_pd* pd, ibv_ah_attr* attributes) {
  return verbena::soft::object_of<Ah>(
      [&] { return verbena::soft::create_ah(Pd::of(pd), *attributes); });
}

VERBENA_EXPORT int ibv_init_ah_from_wc(ibv_context*, uint8_t port, ibv_wc* completion, ibv_grh* grh,
                                       ibv_ah_attr* attributes) {
  const int error = verbena::soft::errno_of(
      [&] { verbena::soft::init_from_completion(port, *completion, grh, *attributes); });
  if (error == 0) return 0;
  errno = error;
  return -1;
}

VERBENA_EXPORT ibv_ah* ibv_create_ah_from_wc(ibv_pd* pd, ibv_wc* completion, ibv_grh* grh,
                                             uint8_t port) {
  return verbena::soft::object_of<Ah>([&] {
    ibv_ah_attr attributes;
    verbena::soft::init_from_completion(port, *completion, grh, attributes);
    return verbena::soft::create_ah(Pd::of(pd), attributes);
  });
}

VERBENA_EXPORT int ibv_destroy_ah(ibv_ah* ah) {
  delete &Ah::of(ah);
  return 0;
}
