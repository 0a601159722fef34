// Verbena on the soft device and Verbena on the kernel's rxe serve each other: every operation, in
// combinations of side, size, path MTU, address family and loss; and packets that were damaged.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  everyCombination,
  pairwiseCombinations,
  type Combination,
} from '../helpers/covering-array.js';
import { InteropPair } from '../helpers/interop-pair.js';
import { disturbNetwork, rxeResources, setMtuOfRxe } from '../helpers/interop.js';

const MIB = 2 ** 20;
const LIMIT_MS = 300_000;

const factors = {
  client: ['soft', 'rxe'],
  // The largest that goes without rendezvous is 4144.
  bytes: [1, 4144, 4145, 100_003, MIB, 16 * MIB],
  mtu: [256, 512, 1024, 2048, 4096],
  family: ['ipv4', 'ipv6'],
  lossPercent: [0, 1],
} as const;

type Case = Combination<typeof factors>;

// Packets of 256 bytes are slow on an emulated machine.
const isAllowed = ({ bytes, mtu }: Case): boolean => bytes < 16 * MIB || mtu >= 1024;

const combinations =
  process.env['VERBENA_INTEROP'] === 'full'
    ? everyCombination(factors, isAllowed)
    : pairwiseCombinations(factors, isAllowed);

describe('Verbena on the soft device and on rxe', () => {
  let pair: InteropPair;
  let resourcesBefore: string;

  beforeAll(async () => {
    resourcesBefore = await rxeResources();
    pair = new InteropPair();
  });

  afterEach(async ({ task }) => {
    await disturbNetwork('');
    if (task.result?.state === 'fail') await pair.restart();
  });

  afterAll(async () => {
    await pair[Symbol.asyncDispose]();
    expect(await rxeResources()).toBe(resourcesBefore);
  });

  it.each(combinations)(
    '$client client, $bytes bytes, MTU $mtu, $family, $lossPercent % loss',
    async ({ lossPercent, ...exercise }) => {
      if (lossPercent > 0) await disturbNetwork(`loss ${lossPercent}%`);
      const counted = await pair.exercise(exercise);
      expect(counted['icrc_errors']).toBe(0);
      // The kernel hides the identification of IPv4 packets, and rxe counts it up.
      if (exercise.family === 'ipv4') expect(counted['ids_solved']).toBeGreaterThan(0);
      else expect(counted['ids_solved']).toBe(0);
    },
    LIMIT_MS,
  );

  it.each(['soft', 'rxe'] as const)(
    'agrees on the MTU of rxe when that is smaller: %s client',
    async (client) => {
      await setMtuOfRxe(1500);
      try {
        // A longer packet than what the interface of rxe takes would be lost.
        await pair.exercise({ client, bytes: 100_003, mtu: 4096, family: 'ipv4' });
      } finally {
        await setMtuOfRxe(4200);
      }
    },
    LIMIT_MS,
  );

  const damaged = { bytes: 300_000, mtu: 1024 } as const;

  it.each([
    { client: 'soft', family: 'ipv4' },
    { client: 'rxe', family: 'ipv4' },
    { client: 'soft', family: 'ipv6' },
    { client: 'rxe', family: 'ipv6' },
  ] as const)(
    'drops what the network damages: $client client, $family',
    async (direction) => {
      await disturbNetwork('corrupt 3%');
      const counted = await pair.exercise({ ...damaged, ...direction });
      expect(counted['icrc_errors']).toBeGreaterThan(0);
    },
    LIMIT_MS,
  );

  it.each(['soft', 'rxe'] as const)(
    'gets through to rxe what it damages itself: %s client',
    async (client) => {
      const environment = { VERBENA_SOFT_FAULTS: 'corrupt=0.05,seed=3' };
      const counted = await pair.exercise({ ...damaged, client, family: 'ipv4', environment });
      const repeated = (counted['retransmits'] ?? 0) + (counted['duplicate_requests'] ?? 0);
      expect(repeated).toBeGreaterThan(0);
    },
    LIMIT_MS,
  );
});
