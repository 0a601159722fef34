// The ibv_cq_ex interface: completions one at a time, each field through a function.
#include "soft/abi/cq.h"

namespace verbena::soft {
namespace {

// 0, or ENOENT when there is none.
int take_next(Cq& cq) {
  if (poll_cq(cq.handle(), 1, &cq.polled) != 1) return ENOENT;
  cq.ex.wr_id = cq.polled.wr_id;
  cq.ex.status = cq.polled.status;
  return 0;
}

int start_poll(ibv_cq_ex* ex, ibv_poll_cq_attr* attributes) {
  if (attributes != nullptr && attributes->comp_mask != 0) return EINVAL;
  Cq& cq = Cq::of(ex);
  cq.poll_mutex.lock();
  const int error = take_next(cq);
  if (error != 0) cq.poll_mutex.unlock();  // no end_poll follows
  return error;
}

int next_poll(ibv_cq_ex* ex) {
  return take_next(Cq::of(ex));
}

void end_poll(ibv_cq_ex* ex) {
  Cq::of(ex).poll_mutex.unlock();
}

const ibv_wc& polled(ibv_cq_ex* ex) {
  return Cq::of(ex).polled;
}

}  // namespace

void fill_poll_functions(ibv_cq_ex& ex) {
  ex.start_poll = start_poll;
  ex.next_poll = next_poll;
  ex.end_poll = end_poll;
  ex.read_opcode = [](ibv_cq_ex* cq) { return polled(cq).opcode; };
  ex.read_vendor_err = [](ibv_cq_ex* cq) { return polled(cq).vendor_err; };
  ex.read_byte_len = [](ibv_cq_ex* cq) { return polled(cq).byte_len; };
  ex.read_imm_data = [](ibv_cq_ex* cq) { return polled(cq).imm_data; };
  ex.read_qp_num = [](ibv_cq_ex* cq) { return polled(cq).qp_num; };
  ex.read_src_qp = [](ibv_cq_ex* cq) { return polled(cq).src_qp; };
  ex.read_wc_flags = [](ibv_cq_ex* cq) { return polled(cq).wc_flags; };
  ex.read_slid = [](ibv_cq_ex* cq) { return uint32_t{polled(cq).slid}; };
  ex.read_sl = [](ibv_cq_ex* cq) { return polled(cq).sl; };
  ex.read_dlid_path_bits = [](ibv_cq_ex* cq) { return polled(cq).dlid_path_bits; };
}

}  // namespace verbena::soft
