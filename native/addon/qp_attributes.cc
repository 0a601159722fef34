// Owns reading of queue-pair attributes: names, ranges, GID and MTU.
#include "addon/qp_attributes.h"

#include <string>

#include "addon/arguments.h"
#include "verbs/error.h"
#include "verbs/qp_transitions.h"

namespace verbena::addon {
namespace {

constexpr uint32_t kMax24Bit = 0xff'ffff;
/** Enough for any route; 1 would confine a connection to its subnet. */
constexpr uint8_t kDefaultHopLimit = 64;

verbs::Error misuse(const std::string& text) {
  return {verbs::code::kArgument, text};
}

ibv_qp_state to_state(const Napi::Value& value) {
  const std::string name = to_text(value, "state");
  for (int state = 0; state < verbs::kQpStates; ++state) {
    if (name == verbs::qp_state_name(static_cast<ibv_qp_state>(state))) {
      return static_cast<ibv_qp_state>(state);
    }
  }
  throw misuse("`state` must be RESET, INIT, RTR, RTS, SQD, SQE or ERR; it is " + name + ".");
}

int hex_digit(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  throw misuse("`path.gid` must be 32 hex digits.");
}

ibv_gid to_gid(const Napi::Value& value) {
  const std::string text = to_text(value, "path.gid");
  ibv_gid gid{};
  if (text.size() != 2 * sizeof(gid.raw)) throw misuse("`path.gid` must be 32 hex digits.");
  for (size_t byte = 0; byte < sizeof(gid.raw); ++byte) {
    gid.raw[byte] =
        static_cast<uint8_t>(hex_digit(text[2 * byte]) << 4 | hex_digit(text[2 * byte + 1]));
  }
  return gid;
}

ibv_mtu to_mtu(uint32_t bytes) {
  for (const ibv_mtu mtu : {IBV_MTU_256, IBV_MTU_512, IBV_MTU_1024, IBV_MTU_2048, IBV_MTU_4096}) {
    if (static_cast<uint32_t>(mtu_bytes(mtu)) == bytes) return mtu;
  }
  throw misuse("`mtu` must be 256, 512, 1024, 2048 or 4096 bytes; it is " + std::to_string(bytes) +
               ".");
}

/** Misspelt names would silently be left out of the mask. */
void refuse_unknown(const Napi::Object& object, std::initializer_list<const char*> known) {
  const Napi::Array names = object.GetPropertyNames();
  for (uint32_t index = 0; index < names.Length(); ++index) {
    const std::string name = names.Get(index).ToString().Utf8Value();
    bool found = false;
    for (const char* each : known) found = found || name == each;
    if (!found) throw misuse("`" + name + "` is no attribute of a queue pair.");
  }
}

ibv_ah_attr to_path(const Napi::Value& value) {
  const Napi::Object object = to_object(value, "path");
  refuse_unknown(object,
                 {"gid", "gidIndex", "hopLimit", "trafficClass", "lid", "serviceLevel", "port"});
  const auto number = [&](const char* name, uint32_t most, uint32_t fallback) {
    return optional_u32(object, name, 0, most).value_or(fallback);
  };
  ibv_ah_attr path{};
  path.port_num = static_cast<uint8_t>(to_u32(object.Get("port"), "path.port", 1, UINT8_MAX));
  path.dlid = static_cast<uint16_t>(number("lid", UINT16_MAX, 0));
  path.sl = static_cast<uint8_t>(number("serviceLevel", 15, 0));
  const Napi::Value gid = object.Get("gid");
  if (gid.IsUndefined()) return path;
  path.is_global = 1;
  path.grh.dgid = to_gid(gid);
  path.grh.sgid_index = static_cast<uint8_t>(number("gidIndex", UINT8_MAX, 0));
  path.grh.hop_limit = static_cast<uint8_t>(number("hopLimit", UINT8_MAX, kDefaultHopLimit));
  path.grh.traffic_class = static_cast<uint8_t>(number("trafficClass", UINT8_MAX, 0));
  return path;
}

/** Takes one attribute after the other, and notes in the mask which were there. */
class Reader {
 public:
  explicit Reader(const Napi::Object& object) : object_(object) {}

  template <class Field>
  void number(const char* name, int bit, uint32_t most, Field& field) {
    const auto value = optional_u32(object_, name, 0, most);
    if (!value) return;
    field = static_cast<Field>(*value);
    result.mask |= bit;
  }

  template <class Field, class Convert>
  void converted(const char* name, int bit, Field& field, Convert convert) {
    const Napi::Value value = object_.Get(name);
    if (value.IsUndefined()) return;
    field = convert(value);
    result.mask |= bit;
  }

  QpAttributes result;

 private:
  const Napi::Object& object_;
};

}  // namespace

int mtu_bytes(ibv_mtu mtu) {
  return mtu >= IBV_MTU_256 && mtu <= IBV_MTU_4096 ? 128 << static_cast<int>(mtu) : 0;
}

QpAttributes to_qp_attributes(const Napi::Value& value) {
  const Napi::Object object = to_object(value, "attributes");
  refuse_unknown(object, {"state", "port", "pkeyIndex", "access", "path", "mtu", "destQpn", "rqPsn",
                          "maxDestRdAtomic", "minRnrTimer", "timeout", "retryCount", "rnrRetry",
                          "sqPsn", "maxRdAtomic"});
  Reader reader(object);
  ibv_qp_attr& values = reader.result.values;
  values.qp_state = to_state(object.Get("state"));
  reader.result.mask = IBV_QP_STATE;
  reader.number("port", IBV_QP_PORT, UINT8_MAX, values.port_num);
  reader.number("pkeyIndex", IBV_QP_PKEY_INDEX, UINT16_MAX, values.pkey_index);
  reader.number("access", IBV_QP_ACCESS_FLAGS, kAllAccess, values.qp_access_flags);
  reader.number("destQpn", IBV_QP_DEST_QPN, kMax24Bit, values.dest_qp_num);
  reader.number("rqPsn", IBV_QP_RQ_PSN, kMax24Bit, values.rq_psn);
  reader.number("sqPsn", IBV_QP_SQ_PSN, kMax24Bit, values.sq_psn);
  reader.number("maxDestRdAtomic", IBV_QP_MAX_DEST_RD_ATOMIC, UINT8_MAX, values.max_dest_rd_atomic);
  reader.number("maxRdAtomic", IBV_QP_MAX_QP_RD_ATOMIC, UINT8_MAX, values.max_rd_atomic);
  reader.number("minRnrTimer", IBV_QP_MIN_RNR_TIMER, 31, values.min_rnr_timer);
  reader.number("timeout", IBV_QP_TIMEOUT, 31, values.timeout);
  reader.number("retryCount", IBV_QP_RETRY_CNT, 7, values.retry_cnt);
  reader.number("rnrRetry", IBV_QP_RNR_RETRY, 7, values.rnr_retry);
  reader.converted("path", IBV_QP_AV, values.ah_attr, to_path);
  reader.converted("mtu", IBV_QP_PATH_MTU, values.path_mtu,
                   [](const Napi::Value& mtu) { return to_mtu(to_u32(mtu, "mtu")); });
  return reader.result;
}

}  // namespace verbena::addon
