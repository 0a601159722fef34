// `startAdmin`: loads the admin port when somebody wants it.
import type { Server } from '../server/api.js';
import type { AdminOptions, AdminServer } from './admin-server.js';

/**
 * Opens an HTTP port for a server, on loopback unless told otherwise: a status page at `/`,
 * `/metrics` for Prometheus, `/healthz`, `/readyz` (503 once the server drains) and `/status.json`.
 * It closes with the server. Rejects with ERR_VERBENA_INVALID_OPTION, ERR_VERBENA_LISTEN or
 * ERR_VERBENA_CLOSED.
 */
export async function startAdmin(server: Server, options: AdminOptions = {}): Promise<AdminServer> {
  const { listenForAdmin } = await import('./admin-server.js');
  return listenForAdmin(server, options);
}
