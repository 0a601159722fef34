// Owns checking of post descriptors and handing them to the device.
#include "verbs/post_ring.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <string>
#include <utility>

#include "verbs/error.h"

namespace verbena::verbs {
namespace {

constexpr uint32_t kAtomicBytes = 8;

static_assert(offsetof(Work, send) == 0 && offsetof(Work, receive) == 0);

uint64_t word64(const uint32_t* words, uint32_t low) {
  return static_cast<uint64_t>(words[low + 1]) << 32 | words[low];
}

unsigned send_flags(uint32_t flags) {
  unsigned result = 0;
  if ((flags & post::kSignaled) != 0) result |= IBV_SEND_SIGNALED;
  if ((flags & post::kSolicited) != 0) result |= IBV_SEND_SOLICITED;
  if ((flags & post::kInline) != 0) result |= IBV_SEND_INLINE;
  if ((flags & post::kFence) != 0) result |= IBV_SEND_FENCE;
  return result;
}

/** Sets the opcode and what belongs to it; returns an errno value. */
int set_operation(ibv_send_wr& wr, const uint32_t* words) {
  const uint64_t remote_address = word64(words, post::kRemoteAddressLow);
  const auto rdma = [&](ibv_wr_opcode opcode) {
    wr.opcode = opcode;
    wr.wr.rdma.remote_addr = remote_address;
    wr.wr.rdma.rkey = words[post::kRkey];
    return 0;
  };
  const auto atomic = [&](ibv_wr_opcode opcode) {
    wr.opcode = opcode;
    wr.wr.atomic.remote_addr = remote_address;
    wr.wr.atomic.rkey = words[post::kRkey];
    wr.wr.atomic.compare_add = word64(words, post::kCompareAddLow);
    wr.wr.atomic.swap = word64(words, post::kSwapLow);
    return words[post::kLength] == kAtomicBytes ? 0 : EINVAL;
  };
  switch (words[post::kOpcode]) {
    case post::kSend:
      wr.opcode = IBV_WR_SEND;
      return 0;
    case post::kSendWithImm:
      wr.opcode = IBV_WR_SEND_WITH_IMM;
      wr.imm_data = htonl(words[post::kImm]);
      return 0;
    case post::kWrite:
      return rdma(IBV_WR_RDMA_WRITE);
    case post::kWriteWithImm:
      wr.imm_data = htonl(words[post::kImm]);
      return rdma(IBV_WR_RDMA_WRITE_WITH_IMM);
    case post::kRead:
      return rdma(IBV_WR_RDMA_READ);
    case post::kCompareSwap:
      return atomic(IBV_WR_ATOMIC_CMP_AND_SWP);
    case post::kFetchAdd:
      return atomic(IBV_WR_ATOMIC_FETCH_AND_ADD);
    default:
      return EINVAL;
  }
}

bool carries_data_out(ibv_wr_opcode opcode) {
  return opcode == IBV_WR_SEND || opcode == IBV_WR_SEND_WITH_IMM || opcode == IBV_WR_RDMA_WRITE ||
         opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
}

/** Appends in order, and links the device's list as far as nothing was refused. */
void append(WorkList& list, Work& work, bool is_send) {
  if (list.head == nullptr) {
    list.head = &work;
  } else {
    list.tail->next = &work;
    if (list.refused == nullptr && work.error == 0) {
      if (is_send) {
        list.tail->send.next = &work.send;
      } else {
        list.tail->receive.next = &work.receive;
      }
    }
  }
  list.tail = &work;
  if (work.error != 0 && list.refused == nullptr) list.refused = &work;
}

}  // namespace

PostRing::PostRing(uint32_t* memory, uint32_t capacity, const util::SlotTable<QueuePair>& qps,
                   const util::SlotTable<MemoryRegion>& mrs)
    : memory_(memory), capacity_(capacity), qps_(qps), mrs_(mrs), works_(capacity) {
  gathered_.reserve(capacity);
}

void PostRing::drain() {
  const uint32_t count = std::exchange(memory_[post::kCount], 0);
  if (count == 0) return;
  if (count > capacity_) {
    throw Error(code::kArgument, "The post ring's header counts " + std::to_string(count) +
                                     " descriptors, but the ring holds " +
                                     std::to_string(capacity_) +
                                     ": call flush() before writing more.");
  }
  for (uint32_t position = 0; position < count; ++position) gather(position);
  // Every receive before any send: what is sent here may arrive at a queue pair of the same batch.
  for (QueuePair* qp : gathered_) post_list(*qp, std::exchange(qp->receives, {}), false);
  for (QueuePair* qp : gathered_) {
    qp->gathered = false;
    post_list(*qp, std::exchange(qp->sends, {}), true);
  }
  gathered_.clear();
}

void PostRing::gather(uint32_t position) {
  const uint32_t* words = memory_ + static_cast<size_t>(position + 1) * post::kWords;
  QueuePair* qp = qps_.find(words[post::kQpIndex]);
  if (qp == nullptr) {
    fail(words[post::kQpIndex], words[post::kWrId], EBADF);
    return;
  }
  Work& work = works_[position];
  work = {};
  work.wr_id = words[post::kWrId];
  const bool is_send = words[post::kOpcode] != post::kReceive;
  work.error = is_send ? prepare_send(work, words, *qp) : prepare_receive(work, words, *qp);
  append(is_send ? qp->sends : qp->receives, work, is_send);
  if (!std::exchange(qp->gathered, true)) gathered_.push_back(qp);
}

int PostRing::prepare_send(Work& work, const uint32_t* words, const QueuePair& qp) const {
  const uint32_t flags = words[post::kFlags];
  if ((flags & ~post::kAllFlags) != 0) return EINVAL;
  work.send.wr_id = join_wr_id(qp.index(), work.wr_id);
  work.send.send_flags = send_flags(flags);
  if (const int error = set_operation(work.send, words); error != 0) return error;
  const bool is_inline = (flags & post::kInline) != 0;
  if (is_inline && !carries_data_out(work.send.opcode)) return EINVAL;
  if (is_inline && words[post::kLength] > qp.max_inline()) return EMSGSIZE;
  if (words[post::kLength] == 0) return 0;
  work.send.sg_list = &work.sge;
  work.send.num_sge = 1;
  return set_memory(work.sge, words, is_inline);
}

int PostRing::prepare_receive(Work& work, const uint32_t* words, const QueuePair& qp) const {
  if (words[post::kFlags] != 0) return EINVAL;
  work.receive.wr_id = join_wr_id(qp.index(), work.wr_id);
  if (words[post::kLength] == 0) return 0;
  work.receive.sg_list = &work.sge;
  work.receive.num_sge = 1;
  return set_memory(work.sge, words, /*is_inline=*/false);
}

int PostRing::set_memory(ibv_sge& sge, const uint32_t* words, bool is_inline) const {
  const MemoryRegion* mr = mrs_.find(words[post::kMrIndex]);
  const uint32_t offset = words[post::kLocalOffset];
  if (mr == nullptr || !mr->contains(offset, words[post::kLength])) return EFAULT;
  // The device reads a region registered with iova 0 by offset; inline data is copied by the
  // library while it posts, and that needs the address in this process.
  sge.addr = is_inline ? reinterpret_cast<uint64_t>(mr->address() + offset) : mr->iova() + offset;
  sge.length = words[post::kLength];
  sge.lkey = mr->lkey();
  return 0;
}

void PostRing::post_list(QueuePair& qp, const WorkList& list, bool is_send) {
  Work* failed = list.refused;
  int error = failed != nullptr ? failed->error : 0;
  if (list.head != list.refused) {
    ++stats_.batches;
    ibv_send_wr* bad_send = &list.head->send;
    ibv_recv_wr* bad_receive = &list.head->receive;
    const int result = error_of(is_send ? ibv_post_send(qp.get(), bad_send, &bad_send)
                                        : ibv_post_recv(qp.get(), bad_receive, &bad_receive));
    if (result != 0) {
      failed = is_send ? reinterpret_cast<Work*>(bad_send) : reinterpret_cast<Work*>(bad_receive);
      error = result;
    }
  }
  for (Work* work = list.head; work != failed; work = work->next) ++stats_.posts;
  for (Work* work = failed; work != nullptr; work = work->next) {
    fail(qp.index(), work->wr_id, error);
    error = ECANCELED;
  }
}

void PostRing::fail(uint32_t qp_index, uint32_t wr_id, int error) {
  ++stats_.failures;
  CompletionRecord& record = failures_.emplace_back();
  record.words[completion::kQpIndex] = qp_index;
  record.words[completion::kWrId] = wr_id;
  record.words[completion::kStatus] = IBV_WC_GENERAL_ERR;
  record.words[completion::kFlags] = completion::kPostFailed;
  record.words[completion::kVendorError] = static_cast<uint32_t>(error);
}

uint32_t PostRing::take_failures(CompletionRecord* records, uint32_t room) {
  const auto count =
      static_cast<uint32_t>(std::min<size_t>(room, failures_.size() - next_failure_));
  std::copy_n(failures_.begin() + static_cast<ptrdiff_t>(next_failure_), count, records);
  next_failure_ += count;
  if (next_failure_ == failures_.size()) {
    failures_.clear();
    next_failure_ = 0;
  }
  return count;
}

}  // namespace verbena::verbs
