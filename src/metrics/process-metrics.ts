// What prom-client knows of the process: CPU, memory, descriptors, event-loop delay, garbage
// collection. Once per thread, whatever the number of servers: it watches from its first use on.
import { collectDefaultMetrics, Registry } from 'prom-client';

/** Milliseconds between two looks at the event loop's delay: each wakes the process. */
const EVENT_LOOP_RESOLUTION_MS = 20;

/** They list every socket at each scrape, which takes the longer the more clients there are. */
const costly = ['handles', 'requests', 'resources'].flatMap((what) => [
  `nodejs_active_${what}`,
  `nodejs_active_${what}_total`,
]);

let registry: Registry | undefined;

export function processMetrics(): Registry {
  if (registry === undefined) {
    registry = new Registry();
    collectDefaultMetrics({
      register: registry,
      eventLoopMonitoringPrecision: EVENT_LOOP_RESOLUTION_MS,
    });
    for (const name of costly) registry.removeSingleMetric(name);
  }
  return registry;
}
