// Counts of the native objects that a process holds: all 0 when it has released everything.
import { loadAddon } from '../native/load.js';

/** Registered objects that a process still holds. */
export interface LiveObjects {
  readonly pd: number;
  readonly cq: number;
  readonly qp: number;
  readonly mr: number;
}

export const noObjects: LiveObjects = { pd: 0, cq: 0, qp: 0, mr: 0 };

/** What this process holds. */
export function liveObjects(): LiveObjects {
  const { pd, cq, qp, mr } = loadAddon().liveObjects();
  return { pd, cq, qp, mr };
}

function combine(
  a: LiveObjects,
  b: LiveObjects,
  how: (x: number, y: number) => number,
): LiveObjects {
  return { pd: how(a.pd, b.pd), cq: how(a.cq, b.cq), qp: how(a.qp, b.qp), mr: how(a.mr, b.mr) };
}

export function addObjects(a: LiveObjects, b: LiveObjects): LiveObjects {
  return combine(a, b, (x, y) => x + y);
}

/** Of each kind the greater count: what was held at one of two moments. */
export function mostObjects(a: LiveObjects, b: LiveObjects): LiveObjects {
  return combine(a, b, Math.max);
}

export function countObjects({ pd, cq, qp, mr }: LiveObjects): number {
  return pd + cq + qp + mr;
}
