// `createMetrics`: loads what makes metrics when somebody wants them.
import type { Server } from '../server/api.js';
import type { Metrics } from './metrics.js';

/**
 * The metrics of a server for an HTTP server of your own; `startAdmin` serves them at `/metrics` by
 * itself. Nothing is counted for them: each `text()` reads what the server counts anyway.
 */
export async function createMetrics(server: Server): Promise<Metrics> {
  const { metricsOf } = await import('./metrics.js');
  return metricsOf(server);
}
