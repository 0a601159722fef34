#!/usr/bin/env bash
# Plays a scenario: scripts/stress/play.sh SCENARIO [OPTION...], the options of `verbena stress`.
# It starts the server too. Builds first what was never built; stdout carries the result alone.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [ ! -f "$root/dist/cli/main.js" ] || [ ! -f "$root/build/Release/verbena.node" ]; then
  npm --prefix "$root" run --silent build >&2
fi
exec node "$root/dist/cli/main.js" stress "$@"
