// A queue pair: the verbs object around the engine's.
#pragma once

#include <infiniband/verbs.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "soft/abi/acknowledgements.h"
#include "soft/abi/context.h"
#include "soft/abi/cq.h"
#include "soft/abi/pd.h"
#include "soft/abi/population.h"
#include "soft/abi/use_count.h"
#include "soft/abi/wr_api.h"
#include "soft/engine/queue_pair.h"

namespace verbena::soft {

// What a program sees comes first; newer headers than ours find zeros where their functions would
// be.
struct QpStorage {
  ibv_qp_ex ex{};
  std::array<std::byte, 256> newer_members{};
};

struct Qp : QpStorage {
  Qp(Pd& domain, const ibv_qp_init_attr_ex& attributes);
  ~Qp();

  static Qp& of(ibv_qp* handle) { return *static_cast<Qp*>(reinterpret_cast<QpStorage*>(handle)); }
  static Qp& of(ibv_qp_ex* handle) { return of(&handle->qp_base); }
  ibv_qp* handle() { return &ex.qp_base; }

  Context& owner;
  Lane& lane;
  const ibv_qp_cap granted;
  const bool signal_all;
  EventLock<ibv_qp> events;
  AsyncEventSource<6> async_events;
  // Touched with the lane locked only; lives until this object goes.
  engine::QueuePair* transport = nullptr;
  std::unique_ptr<WrBuilder> builder;  // of queue pairs created for the ibv_wr_* functions

 private:
  Member counted_;
  Use pd_use_;
  Use send_cq_use_;
  Use recv_cq_use_;
  std::unique_ptr<Use> srq_use_;
};

// Refuses with EINVAL, EOPNOTSUPP or ENOMEM; on success `attributes.cap` says what was granted.
Qp* create_qp(Context& context, ibv_qp_init_attr_ex& attributes);

// The functions that go through the context. 0 or an errno value; `bad` is the first not posted.
int post_send(ibv_qp* handle, ibv_send_wr* requests, ibv_send_wr** bad);
// Posts the whole list or none of it.
int post_send_all(Qp& qp, const ibv_send_wr* requests);
int post_receive(ibv_qp* handle, ibv_recv_wr* requests, ibv_recv_wr** bad);

}  // namespace verbena::soft
