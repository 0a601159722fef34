// Allocates, binds (type 1) and deallocates memory windows.
#include "soft/abi/mw.h"

#include "soft/abi/guard.h"
#include "soft/abi/qp.h"

namespace verbena::soft {

Mw::Mw(Pd& domain, ibv_mw_type window_type)
    : ibv_mw{}, owner(domain.owner()), counted_(owner.mws, this), pd_use_(domain.users) {
  context = domain.context;
  pd = &domain;
  type = window_type;
  handle = owner.next_handle();
  rkey = owner.lane->with_engine([&](engine::Engine& engine) {
    return engine.memory().insert_window(domain.id, window_type);
  });
}

// The program may have changed the low bits of the key; the engine goes by the others.
Mw::~Mw() {
  owner.lane->with_engine([&](engine::Engine& engine) { engine.memory().erase_window(rkey); });
}

ibv_mw* alloc_mw(ibv_pd* pd, ibv_mw_type type) {
  return object_of<Mw>([&] {
    require(type == IBV_MW_TYPE_1 || type == IBV_MW_TYPE_2, EINVAL);
    return new Mw(Pd::of(pd), type);
  });
}

// The new key is good from now on, also for a second request before the first is executed.
int bind_mw(ibv_qp* qp, ibv_mw* window, ibv_mw_bind* request) {
  const ibv_mw_bind_info& info = request->bind_info;
  if (info.mr != nullptr && info.mr->pd != window->pd) return EPERM;
  if (info.mr == nullptr && info.length != 0) return EINVAL;
  ibv_send_wr bind{};
  bind.wr_id = request->wr_id;
  bind.opcode = IBV_WR_BIND_MW;
  bind.send_flags = request->send_flags;
  bind.bind_mw.mw = window;
  bind.bind_mw.rkey = ibv_inc_rkey(window->rkey);
  bind.bind_mw.bind_info = info;
  ibv_send_wr* bad = nullptr;
  const int error = post_send(qp, &bind, &bad);
  if (error == 0) window->rkey = bind.bind_mw.rkey;
  return error;
}

int dealloc_mw(ibv_mw* window) {
  delete &Mw::of(window);
  return 0;
}

}  // namespace verbena::soft
