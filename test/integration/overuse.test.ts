// Clients that take more than their share: they are limited, then closed with a code, and others
// are served meanwhile.
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { EXTRA_RECEIVES } from '../../src/connection/credits.js';
import { HEADER_BYTES, MessageType, writeHeader } from '../../src/connection/header.js';
import type { Connection, IncomingRequest, Server, Session } from '../../src/index.js';
import { PostOpcode } from '../../src/native/addon.js';
import type { VerbenaError } from '../../src/errors.js';
import { timeScale } from '../helpers/environment.js';
import { RawClient, RawEndpoint, keepCredits } from '../helpers/raw-client.js';
import {
  codeOfRejection,
  connectTo,
  expectEqualBytes,
  expectNothingLeft,
  pattern,
  sessionObjects,
  startServer,
} from '../helpers/verbena.js';

const MAX_REQUESTS = 1000;
/** Requests beyond that are refused so many times. */
const MAX_EXCESS = 1000;
/** Methods of requests; 0 is an echo. */
const NEVER = 1;
const LONG = 2;
/** An answer that fills a SEND. */
const longAnswer = new Uint8Array(4000);

let server: Server;
let bystander: Connection;
let objectsOfBystander: string[];
let handled: IncomingRequest<Session>[];
/** Resolves with the first request. */
let begun: Promise<void>;
let begin: () => void;

beforeAll(async () => {
  server = await startServer({
    maxRequestsPerConnection: MAX_REQUESTS,
    queueSize: 2 * MAX_REQUESTS,
    requestTimeoutMs: 200 * timeScale,
    rendezvousTimeoutMs: 300 * timeScale,
    handler: (request) => {
      handled.push(request);
      begin();
      if (request.method === NEVER) return new Promise(() => undefined);
      return request.method === LONG ? longAnswer : request.payload;
    },
  });
  bystander = await connectTo(server);
  objectsOfBystander = sessionObjects(server);
});

beforeEach(() => {
  handled = [];
  begun = new Promise((resolve) => (begin = resolve));
});

afterEach(async () => {
  await expect.poll(() => sessionObjects(server)).toEqual(objectsOfBystander);
  const payload = pattern(50_000);
  expectEqualBytes(await bystander.request(payload), payload);
});

afterAll(async () => {
  await bystander.close();
  await server.close();
  expectNothingLeft();
});

/** A client made by hand, set up; it leaves no trace when `use` returns. */
async function withRawClient(
  use: (raw: RawEndpoint, client: RawClient) => Promise<void>,
): Promise<void> {
  const client = await RawClient.connect(server);
  const raw = await RawEndpoint.open(client);
  raw.endpoint.send(MessageType.proof, 0, 0, 0, raw.proof());
  expect((await client.next()).message.type).toBe('ready');
  try {
    await use(raw, client);
  } finally {
    client.socket.destroy();
    await raw.close();
  }
}

async function nextEnd(): Promise<VerbenaError> {
  const [, error] = (await once(server, 'sessionEnd')) as [Session, VerbenaError];
  return error;
}

/** Sends `count` requests in as few SENDs as they fit into. */
function send({ endpoint }: RawEndpoint, count: number, method: number): void {
  for (let id = 0; id < count; id++) endpoint.send(MessageType.request, 0, id, method);
}

describe('a client that floods', () => {
  it('within its rights gets its turns, and others theirs in between', async () => {
    await withRawClient(async (raw) => {
      send(raw, MAX_REQUESTS, 0);
      await begun;
      await bystander.request(pattern(10));
      const before = handled.findIndex(({ session }) => session.name !== 'raw');
      expect(before).toBeGreaterThan(0);
      expect(before).toBeLessThan(MAX_REQUESTS);
      await expect.poll(() => handled.length).toBe(MAX_REQUESTS + 1);
    });
  });

  it('is refused, then closed with a code', async () => {
    await withRawClient(async (raw, client) => {
      const ended = nextEnd();
      const refused = server.stats().traffic.requestErrors;
      send(raw, MAX_REQUESTS + 3 * MAX_EXCESS, NEVER);
      const error = await ended;
      expect(error.code).toBe('ERR_VERBENA_OVERUSE');
      expect(error.message).toContain(`beyond ${MAX_REQUESTS} unanswered requests`);
      expect(await client.refusal()).toMatchObject({ type: 'reject', code: 'OVERUSE' });
      expect(handled).toHaveLength(MAX_REQUESTS);
      expect(server.stats().traffic.requestErrors - refused).toBe(MAX_EXCESS + 1);
    });
  });
});

describe('a client that sends without credit', () => {
  it('is closed at once', async () => {
    await withRawClient(async ({ endpoint, welcome }) => {
      const ended = nextEnd();
      const { qp, scratch } = endpoint;
      const { group } = qp.device;
      writeHeader(scratch.slab.view, 0, MessageType.cancel, 0, 0, 0, 0);
      for (let send = 0; send < welcome.slots + EXTRA_RECEIVES; send++) {
        group.post(qp.index, PostOpcode.send, 0, send, scratch.index, 0, HEADER_BYTES);
      }
      group.flush();
      const error = await ended;
      expect(error.code).toBe('ERR_VERBENA_PROTOCOL');
      expect(error.message).toContain('more than its credits allow');
    });
  });
});

describe('a client that returns no credits', () => {
  it('is closed with a code when it takes no answer for too long', async () => {
    await withRawClient(async (raw, client) => {
      const ended = nextEnd();
      keepCredits(raw);
      send(raw, MAX_REQUESTS, LONG);
      const error = await ended;
      expect(error.code).toBe('ERR_VERBENA_OVERUSE');
      expect(error.message).toContain('took none of its answers');
      expect(await client.refusal()).toMatchObject({ type: 'reject', code: 'OVERUSE' });
      expect(handled).toHaveLength(MAX_REQUESTS);
    });
  });

  it('is refused more requests while its answers wait', async () => {
    await withRawClient(async (raw) => {
      const ended = nextEnd();
      keepCredits(raw);
      send(raw, 2 * MAX_REQUESTS, LONG);
      await ended;
      // Those in the SENDs that the server had credit for made room for others.
      expect(handled.length).toBeLessThanOrEqual(MAX_REQUESTS + raw.welcome.slots);
    });
  });
});

describe('a client whose handlers never end', () => {
  it('is answered in time, refused more, then closed with a code', async () => {
    const client = await connectTo(server);
    const closed = once(client, 'close') as Promise<[VerbenaError]>;
    const some = Array.from({ length: MAX_REQUESTS - 1 }, () =>
      codeOfRejection(client.request(pattern(8), { method: NEVER })),
    );
    expect(new Set(await Promise.all(some))).toEqual(new Set(['ERR_VERBENA_REQUEST_TIMEOUT']));
    expect(client.isOpen).toBe(true);
    expectEqualBytes(await client.request(pattern(8)), pattern(8));
    const last = codeOfRejection(client.request(pattern(8), { method: NEVER }));
    expect(await codeOfRejection(client.request(pattern(8)))).toBe(
      'ERR_VERBENA_RESOURCE_EXHAUSTED',
    );
    expect(await last).toMatch(/ERR_VERBENA_(REQUEST_TIMEOUT|OVERUSE)/);
    const [error] = await closed;
    expect(error.code).toBe('ERR_VERBENA_OVERUSE');
    expect(error.message).toContain('whose handlers still run');
  });
});
