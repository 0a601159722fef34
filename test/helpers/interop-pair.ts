// A Verbena server on one side and its client on the other, one of them on the soft device and one
// on the kernel's rxe, and all that they can do with each other.
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { readSoftCounters, type DeviceCounters } from '../../src/rdma/device-counters.js';
import type { TrafficStats } from '../../src/connection/traffic-stats.js';
import { addresses, InteropEnd, softEnvironment, type Family, type Side } from './interop.js';
import { testCertificate } from './verbena.js';

/** Close to the end of the 24 bits: numbers wrap within the first messages. */
const FIRST_PSN = 0xff_fff0;

export interface Exercise {
  readonly client: Side;
  /** Length of each payload. */
  readonly bytes: number;
  readonly mtu: number;
  readonly family: Family;
  /** More for the soft side. */
  readonly environment?: Readonly<Record<string, string>>;
}

interface Used {
  readonly localPsn: number;
  readonly remotePsn: number;
  readonly traffic: TrafficStats;
  readonly live: unknown;
}

interface Served {
  readonly traffic: TrafficStats;
  readonly ended: Readonly<Record<string, number>>;
  readonly live: unknown;
}

const nothing = { pd: 0, cq: 0, qp: 0, mr: 0, device: 0 };
const devices: Readonly<Record<Side, string>> = { soft: 'soft', rxe: 'rxe0' };

/** Both sides count the same. */
function compareCounts(used: Used, served: Served): void {
  const { traffic } = used;
  expect(traffic.requestErrors + traffic.requestTimeouts).toBe(0);
  expect(traffic.responses).toBe(traffic.requests);
  expect(served.traffic).toMatchObject({
    responses: traffic.responses,
    immediates: 1,
    bytesPulled: traffic.bytesPulled,
    offersExpired: 0,
  });
}

export class InteropPair implements AsyncDisposable {
  #ends = InteropPair.#start();

  static #start(): Readonly<Record<Side, InteropEnd>> {
    return { soft: new InteropEnd('soft'), rxe: new InteropEnd('rxe') };
  }

  /**
   * Starts a server, has a client do everything and compare every byte, ends both. Resolves with
   * what the soft device counted.
   */
  async exercise({ client, bytes, mtu, family, environment }: Exercise): Promise<DeviceCounters> {
    const server: Side = client === 'soft' ? 'rxe' : 'soft';
    const counters = join(tmpdir(), `verbena-interop-${process.pid}`);
    const softVariables = softEnvironment(family, {
      VERBENA_SOFT_MTU: String(mtu),
      VERBENA_SOFT_COUNTERS: counters,
      VERBENA_SOFT_FAULTS: '',
      ...environment,
    });
    const { ca, cert, key } = await testCertificate();
    const host = addresses[server][family];
    const common = { host, bytes, psn: FIRST_PSN };
    const port = await this.#ends[server].do<number>({
      order: 'serve',
      environment: softVariables,
      options: { ...common, device: devices[server], cert, key },
    });
    const used = await this.#ends[client].do<Used>({
      order: 'use',
      environment: softVariables,
      options: { ...common, device: devices[client], port, ca, servername: 'localhost' },
    });
    const served = await this.#ends[server].do<Served>({ order: 'stopServing' });
    // Numbers are drawn again when the other address family is tried.
    expect(used.localPsn).toBeGreaterThanOrEqual(FIRST_PSN);
    expect(used.remotePsn).toBeGreaterThanOrEqual(FIRST_PSN);
    expect(used).toMatchObject({ live: nothing });
    expect(served).toMatchObject({ ended: { ERR_VERBENA_PEER_CLOSED: 1 }, live: nothing });
    compareCounts(used, served);
    const counted = readSoftCounters(counters);
    rmSync(counters);
    return counted;
  }

  /** After a failure an end may be busy with what failed. */
  async restart(): Promise<void> {
    await this[Symbol.asyncDispose]();
    this.#ends = InteropPair.#start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(Object.values(this.#ends).map((end) => end[Symbol.asyncDispose]()));
  }
}
