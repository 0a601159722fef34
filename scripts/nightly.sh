#!/usr/bin/env bash
# What takes too long for every change: interoperation with soft-RoCE in every combination.
# The exit status is 0 only if all of it passed.
set -uo pipefail
cd "$(dirname "$0")/.."
export CI=true
exec </dev/null

failed=0
node scripts/test-rxe.mjs --only interop --full || failed=1
exit $failed
