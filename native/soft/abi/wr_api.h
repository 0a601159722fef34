// The ibv_wr_* interface: work requests are built call by call and posted together.
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace verbena::soft {

constexpr uint64_t kBuilderOperations =
    IBV_QP_EX_WITH_RDMA_WRITE | IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM | IBV_QP_EX_WITH_SEND |
    IBV_QP_EX_WITH_SEND_WITH_IMM | IBV_QP_EX_WITH_RDMA_READ | IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP |
    IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD | IBV_QP_EX_WITH_LOCAL_INV | IBV_QP_EX_WITH_BIND_MW |
    IBV_QP_EX_WITH_SEND_WITH_INV | IBV_QP_EX_WITH_ATOMIC_WRITE;

// What was built since ibv_wr_start. A mistake is kept and reported by ibv_wr_complete.
class WrBuilder {
 public:
  explicit WrBuilder(const ibv_qp_cap& limits) : limits_(limits) {}

  // The builder is one thread's from start to finish.
  void start();
  // Adds a request with the id and flags that the program put into `qp`.
  ibv_send_wr& add(const ibv_qp_ex& qp, ibv_wr_opcode opcode);
  void set_destination(ibv_ah* ah, uint32_t qpn, uint32_t qkey);
  void set_sges(const ibv_sge* sges, size_t count);
  void set_inline(const ibv_data_buf* pieces, size_t count);
  // The eight bytes of an ATOMIC WRITE, which need no room of the queue pair's for inline data.
  void set_value(const void* bytes);
  // The requests as one list, or nullptr with `error` set.
  const ibv_send_wr* link(int& error);
  void finish();
  // Remembers the first mistake; 0 is none.
  void fail(int error);

 private:
  // Where a request's scatter list or inline bytes begin; pointers would not survive growth.
  struct Placement {
    size_t first_sge;
    size_t first_inline_byte;
    bool is_inline;
  };

  void place_inline(size_t start);

  const ibv_qp_cap limits_;
  std::mutex mutex_;
  int error_ = 0;
  std::vector<ibv_send_wr> requests_;
  std::vector<Placement> placements_;
  std::vector<ibv_sge> sges_;
  std::vector<std::byte> inline_bytes_;
};

// Sets the ibv_qp_ex functions.
void fill_builder_functions(ibv_qp_ex& ex);

}  // namespace verbena::soft
