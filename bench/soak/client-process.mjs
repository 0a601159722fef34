// The client of the long run whose requests are timed: an open loop on a few connections, counted
// in intervals. Told by messages.
import { Latencies } from '../../dist/bench/histogram.js';
import { openConnections } from '../../dist/bench/links.js';
import { ThreadLoad } from '../../dist/bench/thread-load.js';
import { parseMix } from '../../dist/bench/workload.js';
import { connect } from '../../dist/index.js';
import { acquireDevice } from '../../dist/rdma/device.js';
import { usageNow } from '../../dist/stress/usage.js';

const DEPTH = 4;
const BYTES = 64;

let load;
let threadLoad;
let links;
let lease;
let running;

async function start({ device, port, ca, rate, connections }) {
  load = {
    workload: parseMix('echo'),
    bytes: { min: BYTES, max: BYTES },
    connections,
    depth: DEPTH,
    warmUpMs: 0,
    rate,
    arrivals: 'constant',
    verify: true,
    timeoutMs: 5000,
    highestLatencyMs: 60_000,
    digits: 3,
    seed: 1,
  };
  // As `verbena bench` does: an open loop that watches the clock must see answers without events.
  lease = acquireDevice({ device, emptyPollsBeforeArm: 2 ** 32 - 1 });
  links = await openConnections(connections, () =>
    connect({ device, host: '127.0.0.1', port, ca }),
  );
  threadLoad = new ThreadLoad({ clientId: 0, load, phase: 0 }, links.all);
  running = threadLoad.run();
  return {};
}

/** What was done since the last time, and what this process uses. */
async function interval() {
  const { operations, errors, latencies: counts } = threadLoad.meter.take();
  const latencies = new Latencies(load);
  latencies.add(counts);
  const { p50, p99, max } = latencies.summary();
  return {
    requests: operations,
    errors,
    ...{ p50Us: p50, p99Us: p99, maxUs: max },
    lost: links.all.filter(({ isOpen }) => !isOpen).length,
    usage: { ...(await usageNow()), registeredBytes: lease.device.registry.bytes },
  };
}

async function stop() {
  threadLoad.stop();
  await running;
  await links.close();
  lease.release();
  return { lateShare: threadLoad.lateShare };
}

const commands = { start, interval, stop };

process.on('message', async ({ command, ...options }) => {
  process.send(await commands[command](options));
});
process.on('disconnect', () => process.exit(0));
