#!/usr/bin/env bash
# Runs a command on this host with rxe0 present, and takes the devices away afterwards.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/network.sh"
make_network >&2
trap 'remove_network >&2' EXIT
"$@"
