// Where a scenario plays: its server, its clients, and the account of all that happened.
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../errors.js';
import { addObjects, noObjects, type LiveObjects } from '../processes/live-objects.js';
import { settlesWithin } from '../processes/managed-process.js';
import { Client, type ClientObserver } from './client.js';
import type { Connected, PsnPair, Target } from './client-messages.js';
import type { OwnServer, ServerObserver } from './own-server.js';
import { PsnLedger } from './psn-ledger.js';

const leaveTimeoutMs = 30_000;
const emptyTimeoutMs = 10_000;
/** One cause can have thousands of effects. */
const shownProblems = 20;
/** Connections of many clients are spread over so many processes, with a few for each. */
const maxCrew = 8;
const minShare = 4;

/** Details that a scenario adds to the result. */
export type Details = Record<string, number | Readonly<Record<string, number>>>;

/** A client process that has several of the connections of a scenario. */
export interface CrewMember {
  readonly client: Client;
  readonly count: number;
}

export interface StageOptions {
  readonly target: Target;
  /** Undefined when somebody else's server is under test: nothing is known of its inside. */
  readonly server: OwnServer | undefined;
  readonly signal: AbortSignal;
  /** Says what goes on. */
  readonly note: (text: string) => void;
}

export class Stage implements ClientObserver {
  readonly server: OwnServer | undefined;
  readonly note: (text: string) => void;
  readonly details: Details = {};
  device = 'none';
  leaked: LiveObjects = noObjects;
  requests = 0;
  bytesVerified = 0;
  readonly #options: StageOptions;
  readonly #clients = new Set<Client>();

  constructor(
    options: StageOptions,
    readonly account: Account,
  ) {
    this.#options = options;
    this.server = options.server;
    this.note = options.note;
  }

  /** False once the user has had enough. */
  get isOpen(): boolean {
    return !this.#options.signal.aborted;
  }

  /** Starts a client process. */
  client(name: string): Client {
    if (!this.isOpen) throw new Error('interrupted');
    const client = new Client(name, this.#options.target, this);
    this.#clients.add(client);
    return client;
  }

  clients(count: number): Client[] {
    return Array.from({ length: count }, (_, index) => this.client(`client${index}`));
  }

  /** Processes for so many connections, each with its share of them. */
  crew(connections: number): CrewMember[] {
    const size = Math.min(Math.ceil(connections / minShare), maxCrew);
    return this.clients(size).map((client, index) => ({
      client,
      count: Math.floor(connections / size) + (index < connections % size ? 1 : 0),
    }));
  }

  /** Opens connections; a refusal is a problem. */
  async connect(client: Client, count = 1): Promise<Connected> {
    const connected = await client.call('connect', { count });
    for (const { message } of connected.refusals)
      this.account.problem(`${client.name}: ${message}`);
    return connected;
  }

  /** Does something that may fail: its failure is a problem, and the others go on. */
  async attempt<T>(action: () => Promise<T>): Promise<T | undefined> {
    try {
      return await action();
    } catch (error) {
      this.account.problem(messageOf(error));
      return undefined;
    }
  }

  /** Attempts the same with each, all at once. */
  together<T, R>(all: readonly T[], action: (each: T) => Promise<R>): Promise<(R | undefined)[]> {
    return Promise.all(all.map((each) => this.attempt(() => action(each))));
  }

  /** Lets a client leave in order and takes its account. */
  async dismiss(client: Client): Promise<void> {
    if (!this.#clients.has(client)) return;
    await this.attempt(async () => {
      const left = client.leave();
      if (!(await settlesWithin(left, leaveTimeoutMs))) {
        throw new Error(`${client.name} did not leave within ${leaveTimeoutMs / 1000} s`);
      }
      const { failure, requests, bytesVerified, live } = await left;
      if (failure !== undefined) this.account.problem(`${client.name}: ${failure}`);
      this.requests += requests;
      this.bytesVerified += bytesVerified;
      this.leaked = addObjects(this.leaked, live);
    });
    await this.remove(client, () => client.stop());
  }

  /** Ends a client process in some other way. */
  async remove(client: Client, end: () => Promise<void>): Promise<void> {
    await end();
    this.#clients.delete(client);
    for (const pair of client.sessions) this.account.psns.leaving(pair);
  }

  /** Resolves when the server has released every session; at once when it is not ours. */
  async untilEmpty(): Promise<void> {
    if (this.server === undefined) return;
    const over = Promise.race([this.account.noSessions(), this.server.process.ended]);
    if (await settlesWithin(over, emptyTimeoutMs)) return;
    this.account.problem(
      `sessions of clients that left were there ${emptyTimeoutMs / 1000} s later`,
    );
  }

  /** Rests, until the user has had enough. */
  async rest(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#options.signal }).catch(() => undefined);
  }

  /** Lets everybody leave who is still there. */
  async clear(): Promise<void> {
    await Promise.all([...this.#clients].map((client) => this.dismiss(client)));
  }

  /** Ends every client process at once. */
  async abandon(): Promise<void> {
    await Promise.all([...this.#clients].map((client) => client.stop()));
  }

  onConnected(client: Client, pair: PsnPair, device: string): void {
    this.device = device;
    client.sessions.add(pair);
    for (const psn of this.account.psns.connected(pair)) {
      this.account.problem(`two live sessions have the packet sequence number ${psn}`);
    }
  }

  onLeaving(_: Client, pair: PsnPair): void {
    this.account.psns.leaving(pair);
  }

  onLost(client: Client, code: string, message: string): void {
    if (!this.account.isDoomed(client.name)) {
      this.account.problem(`${client.name} lost its connection (${code}): ${message}`);
    }
  }

  onDied(client: Client, how: string): void {
    this.account.problem(`${client.name} ${how}`);
  }
}

const orderly: ReadonlySet<string> = new Set(['ERR_VERBENA_PEER_CLOSED']);

/** What went wrong, what was meant to go wrong, and what the server said of its sessions. */
export class Account implements ServerObserver {
  readonly psns = new PsnLedger();
  /** How much went wrong. */
  problems = 0;
  /** Failures that were brought about on purpose. */
  provoked = 0;
  /** Sessions at the server. */
  #sessions = 0;
  #refusalsToCome = 0;
  /** Clients whose sessions end badly on purpose, with who waits for it. */
  readonly #doomed = new Map<string, (code: string) => void>();
  #emptyWaiters: (() => void)[] = [];

  constructor(
    private readonly signal: AbortSignal,
    private readonly show: (problem: string) => void,
  ) {}

  /** After an interruption everything goes wrong, which is nobody's fault. */
  problem(text: string): void {
    if (this.signal.aborted) return;
    this.problems += 1;
    if (this.problems <= shownProblems) this.show(text);
  }

  isDoomed(name: string): boolean {
    return this.#doomed.has(name);
  }

  /** One refusal more will come, on purpose. */
  expectRefusal(): void {
    this.#refusalsToCome += 1;
  }

  /**
   * The client's session will end badly, on purpose. Resolves with how the server says it ended.
   */
  doom(name: string): Promise<string> {
    return new Promise((resolve) => this.#doomed.set(name, resolve));
  }

  /** Resolves when the server has no session left. */
  noSessions(): Promise<void> {
    if (this.#sessions === 0) return Promise.resolve();
    return new Promise((resolve) => this.#emptyWaiters.push(resolve));
  }

  onSessionStarted(_: string, localPsn: number, remotePsn: number): void {
    this.#sessions += 1;
    this.psns.atServer({ localPsn: remotePsn, remotePsn: localPsn });
  }

  onSessionEnded(name: string, code: string): void {
    this.#sessions -= 1;
    if (this.#sessions === 0) for (const wake of this.#emptyWaiters.splice(0)) wake();
    const onEnd = this.#doomed.get(name);
    if (onEnd !== undefined) onEnd(code);
    else if (!orderly.has(code)) this.problem(`the server lost ${name}: ${code}`);
  }

  onRefused(code: string, message: string): void {
    if (this.#refusalsToCome > 0) this.#refusalsToCome -= 1;
    else this.problem(`the server refused a client (${code}): ${message}`);
  }

  onProblem(problem: string): void {
    this.problem(problem);
  }
}
