// The lane: one socket, one engine and one lock, shared by all contexts of the process.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "soft/abi/async.h"
#include "soft/abi/bind.h"
#include "soft/abi/counters_page.h"
#include "soft/abi/random.h"
#include "soft/abi/route.h"
#include "soft/abi/settings.h"
#include "soft/engine/engine.h"
#include "soft/io/control_fifo.h"
#include "soft/io/device_thread.h"
#include "soft/io/fault_injector.h"
#include "soft/io/fork_guard.h"
#include "soft/io/inbox.h"
#include "soft/io/look_policy.h"
#include "soft/io/packet_capture.h"
#include "soft/io/receive_batch.h"
#include "soft/io/transmit_batch.h"
#include "soft/io/udp_socket.h"
#include "soft/shm/neighbours.h"
#include "util/courteous_mutex.h"

namespace verbena::soft {

// Lock order: lane, then completion queue, then event queue.
class Lane : private io::Progress {
 public:
  const wire::Address& address() const { return socket_->address(); }
  ibv_mtu active_mtu() const { return link_.mtu; }
  uint32_t interface_index() const { return link_.interface_index; }
  // See CountersPage; for as long as the lane is open.
  const void* counters_page() const { return counters_.data(); }

  // Events of the port and the device go there.
  void add_listener(DeviceEvents& events);
  void remove_listener(DeviceEvents& events);
  bool port_up() const { return port_up_.load(); }

  // Runs `body(engine)` with the lane locked.
  template <class Body>
  auto with_engine(Body&& body) {
    const std::lock_guard lock(mutex_);
    return body(engine_);
  }

  // The same for a body that returns 0 or an errno value; what it made ready is sent at once, and
  // what waited to be sent before. EIO in a forked child.
  template <class Body>
  int with_engine_and_transmit(Body&& body) {
    if (fork_guard_.in_child()) return EIO;
    const std::lock_guard lock(mutex_);
    send_waiting();
    const int result = body(engine_);
    if (!is_held()) send_ready();
    return result;
  }

  // The same of what posts to a queue pair. What was posted may wait for more while a program
  // polls: it is then sent with what comes next, by the next poll, or soon after the last one.
  template <class Body>
  int post(const engine::QueuePair& qp, Body&& body) {
    if (fork_guard_.in_child()) return EIO;
    const std::lock_guard lock(mutex_);
    const int result = body(engine_);
    if (!is_held()) send_posted(qp);
    return result;
  }

  // What this thread makes ready from now on waits for its release, unless another thread drives
  // the lane before.
  void hold();
  void release();

  // Drives the lane once on behalf of a program that found `queue` empty, unless another thread
  // does so now. A program that polls in vain gives way to others; see IdlePolicy.
  void poll(const engine::CompletionQueue& queue);
  // The program is about to sleep: the device's own thread watches from now on.
  void hand_over() { thread_.hand_over(); }
  // Packets to the address are wanted soon: if it is a device of this machine, they shall go
  // through memory.
  void meet(const wire::Address& peer);
  // Takes the queue pair into a multicast group of the device's address family, or out of it. 0 or
  // an errno value.
  int join_group(engine::QueuePair& qp, const wire::Address& group);
  int leave_group(engine::QueuePair& qp, const wire::Address& group);
  // Its groups go with it.
  void destroy_qp(engine::QueuePair& qp);

  // Sleeps until `fd` is readable or a packet came, and handles the packet: a sleeper that waits
  // for it is woken once, not by way of the device's thread. 0 or EINTR.
  int wait(int fd);

 private:
  friend class LaneReference;
  friend struct LaneRegistry;
  struct Sleep;

  // Throws OpenFailure.
  explicit Lane(const Settings& settings);

  // For the device's thread; these lock the lane.
  bool drive() override;
  engine::TimeNs next_deadline() override;
  int wake_fd() const override { return inbox_.fd(); }
  bool begin_sleep() override;
  void end_sleep() override;
  bool waits_unseen() override;
  int late_fd() const override;
  bool is_told_of_late_packets() override;
  void on_late_packets() override;

  static bool is_held();
  void wait_politely(bool busy, engine::TimeNs now);
  bool another_queue_drives(const engine::CompletionQueue& queue, engine::TimeNs now);
  // True when there was work and no other thread was at it.
  bool drive_unless_driven(engine::TimeNs now, const engine::CompletionQueue& polled);

  // What a person or a test writes to the control FIFO.
  bool on_command(std::string_view command);
  void set_port(bool up);

  // All with the lane locked.
  void raise(ibv_event_type type);
  // `polled` is the queue that a program polls, if one does.
  bool drive_locked(engine::TimeNs now, const engine::CompletionQueue* polled = nullptr);
  // On a thread of the program: the device's own may sleep past a timer that this set.
  bool drive_for_program(engine::TimeNs now, const engine::CompletionQueue* polled = nullptr);
  bool acknowledges_may_wait(const engine::CompletionQueue* polled) const;
  bool receive(engine::TimeNs now);
  bool receive_from_neighbours(engine::TimeNs now);
  bool receive_from_network(engine::TimeNs now);
  bool receive_from(io::UdpSocket& socket, engine::TimeNs now);
  void serve_neighbours(engine::TimeNs now);
  void use_window(const wire::Address& peer);
  void accept(engine::TimeNs now, const io::Datagram& datagram);
  void transmit(engine::TimeNs now);
  void send_ready();
  void send_posted(const engine::QueuePair& qp);
  void send_waiting();
  // When the engine has something to do; 0 when it has now.
  engine::TimeNs next_turn() const { return engine_.wants_transmit() ? 0 : engine_.next_timeout(); }
  void update_counters();
  void leave_unused_groups();

  // In a forked child: lets go of the port, which the parent still uses.
  void abandon_socket();

  const wire::IcrcMode icrc_mode_;
  io::ForkGuard fork_guard_;
  std::unique_ptr<io::UdpSocket> socket_;
  io::Inbox inbox_;
  const Link link_;
  std::unique_ptr<io::FaultInjector> faults_;
  std::unique_ptr<io::PacketCapture> capture_;
  std::unique_ptr<shm::Neighbours> neighbours_;  // nullptr where all packets take the network
  std::atomic<bool> port_up_{true};
  io::TransmitBatch transmit_batch_;
  io::ReceiveBatch receive_batch_;
  Route route_;
  io::LookPolicy looks_;
  std::atomic<bool> woken_{false};  // somebody slept on the inbox
  CountersPage counters_;
  KernelRandom random_;
  std::unique_ptr<engine::EventSink> events_;

  // Which queue's polls drive the lane, when one last did, and which queue was polled first since.
  std::atomic<const engine::CompletionQueue*> driving_queue_{nullptr};
  std::atomic<engine::TimeNs> driven_at_{0};
  std::atomic<const engine::CompletionQueue*> first_after_{nullptr};

  util::CourteousMutex mutex_;
  engine::Engine engine_;
  std::vector<DeviceEvents*> listeners_;
  // The last poll left acknowledges for what the program would answer.
  bool acknowledges_wait_ = false;
  int references_ = 0;  // guarded by the registry
  // Last, so that they stop before anything else goes.
  io::DeviceThread thread_;
  io::ControlFifo control_;
};

// Keeps the process's lane open; the first opens it, the last closes it. Throws OpenFailure.
class LaneReference {
 public:
  LaneReference();
  ~LaneReference();
  LaneReference(const LaneReference&) = delete;
  LaneReference& operator=(const LaneReference&) = delete;

  Lane& operator*() const { return *lane_; }
  Lane* operator->() const { return lane_; }

 private:
  Lane* lane_;
};

}  // namespace verbena::soft
