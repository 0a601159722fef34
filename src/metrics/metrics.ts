// The metrics of one server in the text format of Prometheus: read when they are asked for, so that
// they cost the server nothing in between.
import { performance } from 'node:perf_hooks';
import { Counter, Gauge, Registry, type Metric } from 'prom-client';
import { durationBounds, type Durations } from '../connection/duration-histogram.js';
import { packageVersion } from '../native/package.js';
import type { Server } from '../server/api.js';
import {
  histogramMetrics,
  numberMetrics,
  type HistogramDefinition,
  type NumberDefinition,
  type Reading,
} from './definitions.js';
import { processMetrics } from './process-metrics.js';

export interface Metrics {
  /** For the `Content-Type` of the answer. */
  readonly contentType: string;
  /** Every metric of the server and its process, as Prometheus scrapes it. */
  text(): Promise<string>;
}

type Read = () => Reading;

function addNumber(registry: Registry, definition: NumberDefinition, read: Read): void {
  const { name, help, type, label } = definition;
  const options = {
    name,
    help,
    registers: [registry],
    labelNames: label === undefined ? [] : [label],
  };
  const entries = (): [Record<string, string>, number][] => {
    const values = definition.read(read());
    if (typeof values === 'number') return [[{}, values]];
    return Object.entries(values).map(([key, value]) => [{ [label ?? '']: key }, value]);
  };
  if (type === 'gauge') {
    new Gauge({
      ...options,
      collect() {
        this.reset();
        for (const [labels, value] of entries()) this.set(labels, value);
      },
    });
  } else {
    new Counter({
      ...options,
      // prom-client counts up from 0; the count is ours.
      collect() {
        this.reset();
        for (const [labels, value] of entries()) this.inc(labels, value);
      },
    });
  }
}

/** The samples of a histogram: each bucket has those below it as well. */
function samplesOf(name: string, { counts, count, sumSeconds }: Durations): object[] {
  let below = 0;
  const buckets = durationBounds.map((bound, bucket) => {
    below += counts[bucket] ?? 0;
    return { metricName: `${name}_bucket`, labels: { le: bound }, value: below };
  });
  return [
    ...buckets,
    { metricName: `${name}_bucket`, labels: { le: '+Inf' }, value: count },
    { metricName: `${name}_sum`, labels: {}, value: sumSeconds },
    { metricName: `${name}_count`, labels: {}, value: count },
  ];
}

// prom-client's own histogram counts what it is told one by one; ours has counted already.
function addHistogram(registry: Registry, definition: HistogramDefinition, read: Read): void {
  const { name, help } = definition;
  const get = (): Promise<object> => {
    const values = samplesOf(name, definition.read(read()));
    return Promise.resolve({ name, help, type: 'histogram', aggregator: 'sum', values });
  };
  registry.registerMetric({ name, get } as unknown as Metric);
}

class ServerMetrics implements Metrics {
  readonly #server: Server;
  readonly #registry = new Registry();
  readonly #version = packageVersion();
  #reading: Reading;

  constructor(server: Server) {
    this.#server = server;
    this.#reading = this.#read({});
    const read = (): Reading => this.#reading;
    for (const definition of numberMetrics) addNumber(this.#registry, definition, read);
    for (const definition of histogramMetrics) addHistogram(this.#registry, definition, read);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  async text(): Promise<string> {
    await this.#server.refresh({ objects: false });
    this.#reading = this.#read(await this.#server.deviceCounters());
    return `${await this.#registry.metrics()}\n${await processMetrics().metrics()}`;
  }

  #read(deviceCounters: Reading['deviceCounters']): Reading {
    return {
      version: this.#version,
      capacity: this.#server.capacity.clients,
      stats: this.#server.stats(),
      deviceCounters,
      eventLoopBusySeconds: performance.eventLoopUtilization().active / 1000,
    };
  }
}

/** See `createMetrics`. */
export function metricsOf(server: Server): Metrics {
  return new ServerMetrics(server);
}
