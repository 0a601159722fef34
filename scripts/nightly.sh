#!/usr/bin/env bash
# What takes too long for every change: the long shares of simulation, fuzzing and forged packets,
# all native tests under ThreadSanitizer, interoperation with soft-RoCE in every combination, a
# thousand clients that come to bad ends, and an hour of requests.
# The exit status is 0 only if all of it passed.
set -uo pipefail
cd "$(dirname "$0")/.."
export CI=true
exec </dev/null

failed=0
npm run --silent simulate -- --seeds 200000 --seed "$(date +%Y%m%d)000000" || failed=1
npm run --silent simulate -- --sanitizers --seeds 20000 --seed "$(date +%Y%m%d)500000" || failed=1
node scripts/test-native.mjs tsan || failed=1
npm run --silent fuzz -- --seconds 300 || failed=1
npm run --silent coverage:native || failed=1
npm run --silent forge -- --packets $((1 << 24)) || failed=1
node scripts/test-rxe.mjs --only interop --full || failed=1
npm run build || failed=1
node dist/cli/main.js stress chaos --deaths 1000 || failed=1
npm run --silent bench:soak -- --minutes 60 || failed=1
exit $failed
