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

function row({ name, phase, requests, bytesVerified }: ClientState): string {
  return (
    name.padEnd(12) +
    phase.padEnd(12) +
    String(requests).padStart(9) +
    formatBytes(bytesVerified).padStart(12)
  );
}

/** A header, a row for each client that fits, and a line for those that do not. */
function tableLines(clients: readonly ClientState[], height: number): string[] {
  const titles = ['CLIENT'.padEnd(12), 'STATE'.padEnd(12), 'REQUESTS'.padStart(9)];
  const header = titles.join('') + 'VERIFIED'.padStart(12);
  if (clients.length < height) return [header, ...clients.map(row)];
  const shown = Math.max(1, height - 2);
  const hidden = clients.slice(shown);
  const gone = hidden.filter(({ phase }) => phase === 'left').length;
  const rest = `and ${hidden.length} more, of which ${gone} have left`;
  return [header, ...clients.slice(0, shown).map(row), rest];
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
    // A terminal that does not tell its height has 0 rows.
    const height = this.out.rows > 0 ? this.out.rows - 1 : Infinity;
    const lines = tableLines(this.clients, height);
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
