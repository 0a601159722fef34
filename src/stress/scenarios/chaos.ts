// Scenario: clients come to bad ends at random, a few at a time, while others work undisturbed.
import type { Client } from '../client.js';
import { busyWith, endsAtClient, endsAtServer, planDeaths, type Death } from '../deaths.js';
import { settlesWithin } from '../../processes/managed-process.js';
import { randomFrom } from '../../random.js';
import type { Scenario } from '../scenario.js';
import type { Stage } from '../stage.js';

/** Clients that come and go at a time, besides those that wait for the keepalive to end them. */
const lanes = 4;

/** Limits of time for a machine at full speed. */
const keepaliveSec = 3;
const fullSpeed = {
  /** A session, and all that it had, is gone so soon after the deadline that applies. */
  promptMs: 1000,
  /** The server looks three times a period, so it may notice a third of it late. */
  keepaliveMs: (keepaliveSec * 1000 * 4) / 3,
  /** Until a queue pair has tried again in vain as often as it may. */
  retriesMs: 30_000,
} as const;
type Limits = Readonly<Record<keyof typeof fullSpeed, number>>;

function limitsOf(slow: number): Limits {
  const { promptMs, keepaliveMs, retriesMs } = fullSpeed;
  return {
    promptMs: promptMs * slow,
    keepaliveMs: keepaliveMs * slow,
    retriesMs: retriesMs * slow,
  };
}

/** Rest of a survivor between its rounds, which leaves the processors to the others. */
const restMs = 100;

/** One death: brings it about and looks at what follows. */
class Dying {
  readonly #client: Client;

  constructor(
    private readonly stage: Stage,
    private readonly death: Death,
    private readonly limits: Limits,
    index: number,
    /** Takes the milliseconds that the server needed to release what has no deadline. */
    private readonly releases: number[],
  ) {
    this.#client = stage.client(`${death.kind}${index}`);
  }

  /** Resolves when it has happened; what takes its time until then is given to `later`. */
  async happen(later: (rest: Promise<void>) => void): Promise<void> {
    const { stage, death } = this;
    switch (death.kind) {
      case 'idle':
      case 'requesting':
      case 'reading':
      case 'writing':
        return this.#killed();
      case 'handshake':
        return this.#killedInSetup();
      case 'tlsCut':
      case 'qpError':
        return this.#illTreated(later);
      case 'stopped':
        later(stage.attempt(() => this.#stopped()).then(() => undefined));
    }
  }

  async #killed(): Promise<void> {
    const { stage, death } = this;
    const kind = busyWith[death.kind];
    await stage.connect(this.#client);
    if (kind !== undefined) await this.#client.call('loop', { kind, restMs: 0 });
    await stage.rest(death.afterMs);
    const ended = stage.account.doom(this.#client.name);
    await stage.remove(this.#client, () => this.#client.kill());
    await this.#expectEnd(ended, this.limits.promptMs);
  }

  /** The server knows of no session; that nothing is left is seen at the end. */
  async #killedInSetup(): Promise<void> {
    const { stage, death } = this;
    stage.account.expectRefusal();
    void stage.account.doom(this.#client.name);
    await this.#client.call('stall', { stage: death.stage });
    await stage.rest(death.afterMs);
    await stage.remove(this.#client, () => this.#client.kill());
  }

  async #illTreated(later: (rest: Promise<void>) => void): Promise<void> {
    const { stage, death } = this;
    const ended = stage.account.doom(this.#client.name);
    await this.#client.call(death.kind === 'tlsCut' ? 'cut' : 'trespass', undefined);
    await this.#expectEnd(ended, this.limits.promptMs);
    later(stage.attempt(() => this.#expectOutcome(this.limits.retriesMs)).then(() => undefined));
  }

  /** SIGSTOP past the keepalive; then it goes on, and learns that it was given up. */
  async #stopped(): Promise<void> {
    const { stage, death, limits } = this;
    await stage.connect(this.#client);
    const ended = stage.account.doom(this.#client.name);
    this.#client.process.kill('SIGSTOP');
    if (stage.server === undefined) {
      // Whoever knows what keepalive that server has?
      await stage.rest(death.afterMs);
      return stage.remove(this.#client, () => this.#client.kill());
    }
    try {
      await this.#expectEnd(ended, limits.keepaliveMs + limits.promptMs);
    } finally {
      this.#client.process.kill('SIGCONT');
    }
    await this.#expectOutcome(limits.promptMs + limits.keepaliveMs);
  }

  async #expectEnd(ended: Promise<string>, limitMs: number): Promise<void> {
    const { stage, death } = this;
    if (stage.server === undefined) return;
    const { name } = this.#client;
    const since = performance.now();
    if (!(await settlesWithin(ended, limitMs))) {
      throw new Error(`the server still had ${name} ${limitMs} ms after its end`);
    }
    if (limitMs === this.limits.promptMs) this.releases.push(performance.now() - since);
    const code = await ended;
    if (endsAtServer[death.kind].includes(code)) return;
    throw new Error(`the server says of ${name}: ${code}`);
  }

  /** The client lives on: it must say what happened, and leave without leaving anything. */
  async #expectOutcome(limitMs: number): Promise<void> {
    const { stage, death } = this;
    const { name } = this.#client;
    const outcome = this.#client.call('outcome', undefined);
    if (!(await settlesWithin(outcome, limitMs))) {
      throw new Error(`${name} did not notice its end within ${limitMs} ms`);
    }
    const code = await outcome;
    if (endsAtClient[death.kind]?.includes(code) !== true) {
      stage.account.problem(`${name} says of its end: ${code}`);
    }
    await stage.dismiss(this.#client);
  }
}

/** Brings all deaths about, a few at a time, and resolves when all that follows has been seen. */
async function dieAll(stage: Stage, deaths: readonly Death[], limits: Limits): Promise<void> {
  const rests: Promise<void>[] = [];
  const releases: number[] = [];
  const counts: Record<string, number> = {};
  stage.details['deaths'] = counts;
  const queue = deaths.entries();
  const lane = async (): Promise<void> => {
    for (const [index, death] of queue) {
      if (!stage.isOpen) return;
      await stage.attempt(() =>
        new Dying(stage, death, limits, index, releases).happen((rest) => rests.push(rest)),
      );
      stage.account.provoked += 1;
      counts[death.kind] = (counts[death.kind] ?? 0) + 1;
      if (stage.account.provoked % 20 === 0) {
        stage.note(`${stage.account.provoked} of ${deaths.length} clients have died`);
      }
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  await Promise.all(rests);
  stage.details['slowestReleaseMs'] = Math.round(Math.max(0, ...releases));
}

export const chaos: Scenario = {
  name: 'chaos',
  summary: 'clients die in all ways at random while others work undisturbed',
  usual: { deaths: 100, clients: 3, slow: 1 },
  server: ({ slow }) => ({ keepaliveSec: keepaliveSec * slow }),
  async play(stage, { clients, deaths, slow, seed }) {
    stage.note(`seed ${seed}`);
    const survivors = stage.clients(clients);
    await stage.together(survivors, async (client) => {
      await stage.connect(client);
      await client.call('loop', { kind: 'everything', restMs });
    });
    await dieAll(stage, planDeaths(randomFrom(seed), deaths), limitsOf(slow));
    await stage.together(survivors, (client) => client.call('stop', undefined));
    if (stage.server === undefined) return;
    // What of the dead is left shows beside the survivors.
    const { sessions, live } = await stage.server.usage();
    if (sessions !== clients || live.qp !== clients || live.pd !== clients) {
      stage.account.problem(
        `beside ${clients} survivors the server has ${sessions} sessions, ` +
          `${live.qp} queue pairs and ${live.pd} protection domains`,
      );
    }
  },
};
