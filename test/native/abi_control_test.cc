// The control FIFO: the port goes down and comes back, the device fails, and programs hear of it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "support/verbs_objects.h"

namespace verbena::test {
namespace {

class Control : public testing::Test {
 protected:
  void SetUp() override { setenv("VERBENA_SOFT_CONTROL", path.c_str(), 1); }
  void TearDown() override {
    unsetenv("VERBENA_SOFT_CONTROL");
    std::filesystem::remove(path);
  }

  void tell(const std::string& command) const {
    const int fd = open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    const std::string line = command + "\n";
    EXPECT_EQ(write(fd, line.data(), line.size()), static_cast<ssize_t>(line.size()));
    close(fd);
  }

  // Waits for it.
  static ibv_async_event next_event(ibv_context* context) {
    ibv_async_event event{};
    EXPECT_EQ(ibv_get_async_event(context, &event), 0);
    ibv_ack_async_event(&event);
    return event;
  }

  static ibv_port_state port_state(ibv_context* context) {
    ibv_port_attr port{};
    EXPECT_EQ(ibv_query_port(context, 1, &port), 0);
    return port.state;
  }

  const std::filesystem::path path = std::filesystem::temp_directory_path() /
                                     ("verbena-control-" + std::to_string(getpid()) + ".fifo");
};

TEST_F(Control, TakesThePortDownAndUpForEveryContext) {
  const ContextPtr one = open_soft_device();
  const ContextPtr other = open_soft_device();
  EXPECT_EQ(port_state(one.get()), IBV_PORT_ACTIVE);
  // What is so already is no event.
  tell("port up");
  tell("port down");
  for (ibv_context* context : {one.get(), other.get()}) {
    const ibv_async_event event = next_event(context);
    EXPECT_EQ(event.event_type, IBV_EVENT_PORT_ERR);
    EXPECT_EQ(event.element.port_num, 1);
    EXPECT_EQ(port_state(context), IBV_PORT_DOWN);
  }
  tell("port up");
  EXPECT_EQ(next_event(one.get()).event_type, IBV_EVENT_PORT_ACTIVE);
  EXPECT_EQ(port_state(other.get()), IBV_PORT_ACTIVE);
}

TEST_F(Control, LetsNothingThroughWhileThePortIsDown) {
  Pair pair;
  ibv_context* context = pair.a.qp()->context;
  tell("port down");
  next_event(context);
  ASSERT_EQ(pair.b.post_receive(1, 0, 8), 0);
  ASSERT_EQ(pair.a.post_send(1, 0, 8), 0);
  ibv_wc nothing{};
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(ibv_poll_cq(pair.b.cq(), 1, &nothing), 0);
  tell("port up");
  pair.b.expect(1);
  pair.a.expect(1);
}

TEST_F(Control, FailsTheDeviceAndFlushesWhatWaits) {
  Pair pair;
  ASSERT_EQ(pair.b.post_receive(7, 0, 8), 0);
  tell("fail");
  EXPECT_EQ(next_event(pair.a.qp()->context).event_type, IBV_EVENT_DEVICE_FATAL);
  EXPECT_EQ(state_of(pair.a), IBV_QPS_ERR);
  EXPECT_EQ(state_of(pair.b), IBV_QPS_ERR);
  pair.b.expect(7, IBV_WC_WR_FLUSH_ERR);
}

TEST_F(Control, IgnoresWhatItDoesNotKnow) {
  testing::internal::CaptureStderr();
  const ContextPtr context = open_soft_device();
  tell("");
  tell("port sideways");
  tell(std::string(1000, 'x'));
  tell("port down");
  EXPECT_EQ(next_event(context.get()).event_type, IBV_EVENT_PORT_ERR);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("port sideways"), std::string::npos);
}

TEST_F(Control, ReplacesAFifoAndNothingElse) {
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  open_soft_device().reset();
  EXPECT_FALSE(std::filesystem::exists(path));
  const int file = open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  close(file);
  int count = 0;
  ibv_device** list = ibv_get_device_list(&count);
  EXPECT_EQ(ibv_open_device(list[0]), nullptr);
  EXPECT_EQ(errno, EEXIST);
  ibv_free_device_list(list);
  EXPECT_TRUE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace verbena::test
