# The devices of a machine with soft-RoCE: rxe0 on a dummy interface, or on one end of a veth pair
# whose other end is the namespace `peer`. Plain POSIX shell: the virtual machine sources it too.

make_network() {
  ip link set lo up
  if [ "${VERBENA_RXE_NETNS:-0}" = 1 ]; then
    ip netns add peer
    ip link add vrb0 type veth peer name vrb1 netns peer
    ip netns exec peer ip link set lo up
    ip netns exec peer sysctl -qw net.ipv6.conf.vrb1.accept_dad=0
    ip netns exec peer ip address add 10.11.0.2/24 dev vrb1
    ip netns exec peer ip address add fd11::2/64 dev vrb1 nodad
    ip netns exec peer ip link set vrb1 mtu 4200 up
  else
    ip link add vrb0 type dummy
  fi
  sysctl -qw net.ipv6.conf.vrb0.accept_dad=0
  ip address add 10.11.0.1/24 dev vrb0
  ip address add fd11::1/64 dev vrb0 nodad
  ip link set vrb0 mtu 4200 up
  rdma link add rxe0 type rxe netdev vrb0
  [ "${VERBENA_RXE_NETNS:-0}" = 0 ] || introduce_neighbours
}

# Each end knows the other's address, for netem loses and damages the packets that ask for it too.
introduce_neighbours() {
  local first second address
  first=$(cat /sys/class/net/vrb0/address)
  second=$(ip netns exec peer cat /sys/class/net/vrb1/address)
  for address in 10.11.0.2 fd11::2; do
    ip neighbour replace "$address" lladdr "$second" nud permanent dev vrb0
  done
  for address in 10.11.0.1 fd11::1; do
    ip netns exec peer ip neighbour replace "$address" lladdr "$first" nud permanent dev vrb1
  done
}

remove_network() {
  rdma link delete rxe0
  ip link delete vrb0
  [ "${VERBENA_RXE_NETNS:-0}" = 0 ] || ip netns delete peer
}
