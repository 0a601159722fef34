#!/usr/bin/env bash
# Runs a command where a soft-RoCE device (rxe0) exists; passes its output and exit status through.
#
#   scripts/with-rxe.sh [--netns] [--out DIR] [--timeout SECONDS] [--memory MIB] -- COMMAND [ARG...]
#
# Natively when the kernel has rdma_rxe, else in a virtual machine with Debian's kernel. What that
# needs comes from Debian's archive by package name: qemu-system-x86, busybox-static, kmod and cpio
# are installed; the kernel image (linux-image-amd64, about 70 MB) is downloaded, unpacked into the
# cache and not installed.
# The machine sees this host's files read-only; what COMMAND writes is lost, except under --out DIR.
#
#   --netns            a second host: network namespace `peer`, 10.11.0.2 and fd11::2, joined by
#                      veth to rxe0's 10.11.0.1 and fd11::1 (rxe works in the first namespace only;
#                      run the soft device in `ip netns exec peer`)
#   --out DIR          a folder whose files come back
#   --timeout SECONDS  for COMMAND, 600 unless told; a machine that hangs or panics is an error too
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
netns=0 out='' timeout=600 memory=3072

usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }
fail() { echo "with-rxe: $*" >&2; exit 125; }

while [ $# -gt 0 ]; do
  case $1 in
    --netns) netns=1; shift ;;
    --out) out=$2; shift 2 ;;
    --timeout) timeout=$2; shift 2 ;;
    --memory) memory=$2; shift 2 ;;
    -h | --help) usage; exit 0 ;;
    --) shift; break ;;
    *) fail "unknown option $1; see --help" ;;
  esac
done
[ $# -gt 0 ] || fail 'no command; see --help'
[ "$(id -u)" = 0 ] || fail 'needs root, to load rdma_rxe or to start a machine with host files'

export VERBENA_RXE_NETNS=$netns
if modprobe rdma_rxe 2>/dev/null && [ -d /sys/module/rdma_rxe ]; then
  exec timeout "$timeout" bash "$here/rxe/run-native.sh" "$@"
fi
source "$here/rxe/machine.sh"
prepare_machine
run_in_machine "$@"
