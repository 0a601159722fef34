// What a scenario is: its name, the parameters it takes, and what it does on its stage.
import type { ServerOrders } from './server-messages.js';
import type { Stage } from './stage.js';

/** Numbers that the user may choose. */
export interface Parameters {
  /** Clients, or for some scenarios connections, at once. */
  readonly clients: number;
  /** Echo requests of each client. */
  readonly requests: number;
  /** Length of the large payload of each client, in bytes. */
  readonly size: number;
  /** Connections made and closed. */
  readonly cycles: number;
  readonly seconds: number;
  readonly deaths: number;
  /** On a slow machine limits of time count so many times. */
  readonly slow: number;
  /** Where the randomness starts. */
  readonly seed: number;
}

export type ParameterName = keyof Parameters;

export interface Scenario {
  readonly name: string;
  /** One line for the help. */
  readonly summary: string;
  /** The parameters that it takes, with their usual values. */
  readonly usual: Partial<Parameters>;
  /** Parameters of which one at most may be given; the others then do not count. */
  readonly either?: readonly [ParameterName, ParameterName];
  /** Settings that its server needs. */
  server?(parameters: Parameters): Partial<ServerOrders>;
  /** Plays it. What goes wrong is reported on the stage. */
  play(stage: Stage, parameters: Parameters): Promise<void>;
}
