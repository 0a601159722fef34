// Shows the demo while it runs: a table drawn in place on a terminal, plain lines elsewhere.
import { formatBytes } from './result.js';

export type ClientPhase = 'starting' | 'connected' | 'working' | 'left' | 'failed';

export interface ClientState {
  readonly name: string;
  phase: ClientPhase;
  requests: number;
  bytesVerified: number;
}

export interface View {
  /** Something changed in the clients. */
  update(): void;
  /** Draws the last state; nothing is shown afterwards. */
  end(): void;
}

const redrawMs = 100;

export function tableLines(clients: readonly ClientState[]): string[] {
  const header = `${'CLIENT'.padEnd(12)}${'STATE'.padEnd(12)}${'REQUESTS'.padStart(9)}${'VERIFIED'.padStart(12)}`;
  const rows = clients.map(
    ({ name, phase, requests, bytesVerified }) =>
      name.padEnd(12) +
      phase.padEnd(12) +
      String(requests).padStart(9) +
      formatBytes(bytesVerified).padStart(12),
  );
  return [header, ...rows];
}

/** Redraws the table over itself, ten times a second at most. */
class LiveTable implements View {
  #drawnLines = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly out: NodeJS.WriteStream,
    private readonly clients: readonly ClientState[],
  ) {}

  update(): void {
    this.#timer ??= setTimeout(() => this.#draw(), redrawMs);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#draw();
  }

  #draw(): void {
    this.#timer = undefined;
    const up = this.#drawnLines === 0 ? '' : `\u001b[${this.#drawnLines}A`;
    const height = Math.max(2, this.out.rows - 1);
    const lines = tableLines(this.clients).slice(0, height);
    this.out.write(up + lines.map((line) => `\u001b[2K${line}\n`).join(''));
    this.#drawnLines = lines.length;
  }
}

/** One line for each change of a client's state. */
class PlainLines implements View {
  readonly #shown = new Map<string, ClientPhase>();

  constructor(
    private readonly out: NodeJS.WritableStream,
    private readonly clients: readonly ClientState[],
  ) {}

  update(): void {
    for (const { name, phase, requests, bytesVerified } of this.clients) {
      if (this.#shown.get(name) === phase) continue;
      this.#shown.set(name, phase);
      const work = requests === 0 ? '' : `, ${requests} requests, ${formatBytes(bytesVerified)}`;
      if (phase !== 'starting') this.out.write(`${name} ${phase}${work}\n`);
    }
  }

  end(): void {
    this.update();
  }
}

export function createView(out: NodeJS.WriteStream, clients: readonly ClientState[]): View {
  return out.isTTY ? new LiveTable(out, clients) : new PlainLines(out, clients);
}
