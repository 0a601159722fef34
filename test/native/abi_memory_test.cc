// Registers memory that may be used as asked, and refuses what may not.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "support/verbs_objects.h"
#include "util/unique_fd.h"

namespace verbena::test {
namespace {

class Memory : public testing::Test {
 protected:
  // errno of a registration that must fail, or 0.
  int refusal(void* address, size_t length, unsigned access) {
    errno = 0;
    const MrPtr mr(
        ibv_reg_mr_iova2(pd.get(), address, length, reinterpret_cast<uintptr_t>(address), access));
    return mr == nullptr ? errno : 0;
  }

  void* map(size_t bytes, int protection) {
    return mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  }

  ContextPtr context = open_soft_device();
  PdPtr pd{ibv_alloc_pd(context.get())};
};

TEST_F(Memory, RemoteWriteNeedsLocalWrite) {
  void* page = map(4096, PROT_READ | PROT_WRITE);
  EXPECT_EQ(refusal(page, 4096, IBV_ACCESS_REMOTE_WRITE), EINVAL);
  EXPECT_EQ(refusal(page, 4096, IBV_ACCESS_REMOTE_ATOMIC), EINVAL);
  EXPECT_EQ(refusal(page, 4096, IBV_ACCESS_REMOTE_READ), 0);
  EXPECT_EQ(refusal(page, 4096, 0), 0);
  EXPECT_EQ(refusal(page, 4096, kAllAccess), 0);
  munmap(page, 4096);
}

TEST_F(Memory, HintsAreAcceptedAndUnknownBitsAreNot) {
  void* page = map(4096, PROT_READ | PROT_WRITE);
  EXPECT_EQ(refusal(page, 4096, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_RELAXED_ORDERING), 0);
  EXPECT_EQ(refusal(page, 4096, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_ON_DEMAND), EOPNOTSUPP);
  EXPECT_EQ(refusal(page, 4096, IBV_ACCESS_LOCAL_WRITE | 1U << 18), EINVAL);
  munmap(page, 4096);
}

TEST_F(Memory, WhatIsNotMappedOrNotPermittedIsABadAddress) {
  auto* pages = static_cast<std::byte*>(map(3 * 4096, PROT_READ | PROT_WRITE));
  munmap(pages + 4096, 4096);
  EXPECT_EQ(refusal(pages, 4096, kAllAccess), 0);
  EXPECT_EQ(refusal(pages, 4097, kAllAccess), EFAULT);
  EXPECT_EQ(refusal(pages, 3 * 4096, 0), EFAULT);
  EXPECT_EQ(refusal(nullptr, 4096, 0), EFAULT);
  EXPECT_EQ(refusal(pages, 0, 0), EINVAL);
  EXPECT_EQ(refusal(pages, ~size_t{0} - 10, 0), EINVAL);
  munmap(pages, 4096);
  munmap(pages + 2 * 4096, 4096);

  void* constant = map(4096, PROT_READ);
  EXPECT_EQ(refusal(constant, 4096, IBV_ACCESS_REMOTE_READ), 0);
  EXPECT_EQ(refusal(constant, 4096, IBV_ACCESS_LOCAL_WRITE), EFAULT);
  mprotect(constant, 4096, PROT_NONE);
  EXPECT_EQ(refusal(constant, 4096, 0), EFAULT);
  munmap(constant, 4096);
}

TEST_F(Memory, EveryMappingOfARangeMustPermitTheAccess) {
  auto* pages = static_cast<std::byte*>(map(3 * 4096, PROT_READ | PROT_WRITE));
  mprotect(pages + 4096, 4096, PROT_READ);
  EXPECT_EQ(refusal(pages, 3 * 4096, IBV_ACCESS_REMOTE_READ), 0);
  EXPECT_EQ(refusal(pages, 3 * 4096, IBV_ACCESS_LOCAL_WRITE), EFAULT);
  EXPECT_EQ(refusal(pages + 2 * 4096, 4096, IBV_ACCESS_LOCAL_WRITE), 0);
  munmap(pages, 3 * 4096);
}

TEST_F(Memory, PagesBeyondTheEndOfAFileAreABadAddress) {
  const util::UniqueFd file(memfd_create("short", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(file.get(), 4096), 0);
  for (const int sharing : {MAP_SHARED, MAP_PRIVATE}) {
    void* pages = mmap(nullptr, 8192, PROT_READ | PROT_WRITE, sharing, file.get(), 0);
    EXPECT_EQ(refusal(pages, 4096, kAllAccess), 0);
    EXPECT_EQ(refusal(pages, 8192, kAllAccess), EFAULT);
    munmap(pages, 8192);
  }
}

TEST_F(Memory, PrivatePagesComeWhenTheyAreTouched) {
  const util::UniqueFd maps(open("/proc/self/maps", O_RDONLY | O_CLOEXEC));
  const bool describes_mappings =
      ioctl(maps.get(), _IOWR('f', 17, char[104]), nullptr) != 0 && errno != ENOTTY;
  auto* page = static_cast<std::byte*>(map(4096, PROT_READ | PROT_WRITE));
  const MrPtr mr(ibv_reg_mr(pd.get(), page, 4096, kAllAccess));
  ASSERT_NE(mr, nullptr);
  unsigned char residency = 1;
  mincore(page, 4096, &residency);
  // Kernels before 6.11 do not tell what a mapping is: there the pages are brought in.
  EXPECT_EQ(residency & 1, describes_mappings ? 0 : 1);
  munmap(page, 4096);
}

TEST_F(Memory, AddressOnTheWireKeepsItsPlaceInThePage) {
  auto* page = static_cast<std::byte*>(map(8192, PROT_READ | PROT_WRITE));
  errno = 0;
  EXPECT_EQ(ibv_reg_mr_iova(pd.get(), page + 100, 100, 0, IBV_ACCESS_LOCAL_WRITE), nullptr);
  EXPECT_EQ(errno, EINVAL);
  const MrPtr mr(ibv_reg_mr_iova(pd.get(), page + 100, 100, 100, IBV_ACCESS_LOCAL_WRITE));
  ASSERT_NE(mr, nullptr);
  EXPECT_EQ(mr->addr, page + 100);
  EXPECT_EQ(mr->length, 100U);
  EXPECT_EQ(mr->pd, pd.get());
  munmap(page, 8192);
}

TEST_F(Memory, ReRegistrationChangesWhatItSays) {
  Endpoint a(context.get());
  Endpoint b(context.get());
  connect(a, b);
  ibv_mr* mr = b.mr();
  EXPECT_EQ(ibv_rereg_mr(mr, 0, nullptr, nullptr, 0, 0), IBV_REREG_MR_ERR_INPUT);
  EXPECT_EQ(ibv_rereg_mr(mr, 64, nullptr, nullptr, 0, 0), IBV_REREG_MR_ERR_INPUT);
  EXPECT_EQ(
      ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_ACCESS, nullptr, nullptr, 0, IBV_ACCESS_REMOTE_WRITE),
      IBV_REREG_MR_ERR_INPUT);
  EXPECT_EQ(ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_TRANSLATION, nullptr, nullptr, 0, 0),
            IBV_REREG_MR_ERR_INPUT);
  ASSERT_EQ(ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_TRANSLATION, nullptr, b.buffer() + 4096, 4096, 0),
            0);
  EXPECT_EQ(mr->addr, b.buffer() + 4096);
  ASSERT_EQ(a.post_rdma(IBV_WR_RDMA_WRITE, 1, b, 4096, 64), 0);
  a.expect(1);
  ASSERT_EQ(ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_ACCESS, nullptr, nullptr, 0,
                         IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ),
            0);
  ASSERT_EQ(a.post_rdma(IBV_WR_RDMA_WRITE, 2, b, 4096, 64), 0);
  a.expect(2, IBV_WC_REM_ACCESS_ERR);
}

TEST_F(Memory, ReRegistrationMovesTheRegionToAnotherDomain) {
  PdPtr other(ibv_alloc_pd(context.get()));
  void* page = map(4096, PROT_READ | PROT_WRITE);
  {
    const MrPtr mr(ibv_reg_mr(pd.get(), page, 4096, kAllAccess));
    ASSERT_EQ(ibv_rereg_mr(mr.get(), IBV_REREG_MR_CHANGE_PD, other.get(), nullptr, 0, 0), 0);
    EXPECT_EQ(mr->pd, other.get());
    EXPECT_EQ(ibv_dealloc_pd(other.get()), EBUSY);
    EXPECT_EQ(ibv_dealloc_pd(pd.release()), 0);
    pd.reset(ibv_alloc_pd(context.get()));
  }
  munmap(page, 4096);
}

}  // namespace
}  // namespace verbena::test
