// A reading that turns something on when it is high, and off only when it has been low for a while.

export interface ThresholdOptions {
  /** At this reading or above it goes on. */
  readonly onAt: number;
  /** Below this one it goes off. */
  readonly offBelow: number;
  /** Readings in a row that it takes. */
  readonly readingsOn: number;
  readonly readingsOff: number;
}

export class Threshold {
  #options: ThresholdOptions;
  #isOn = false;
  /** Readings in a row that speak for the other state. */
  #against = 0;

  constructor(options: ThresholdOptions) {
    this.#options = options;
  }

  get isOn(): boolean {
    return this.#isOn;
  }

  /** Counts from the next reading on. */
  set options(value: ThresholdOptions) {
    this.#options = value;
  }

  /** Takes a reading; true when it changed the state. */
  read(value: number): boolean {
    const { onAt, offBelow, readingsOn, readingsOff } = this.#options;
    const isAgainst = this.#isOn ? value < offBelow : value >= onAt;
    this.#against = isAgainst ? this.#against + 1 : 0;
    if (this.#against < (this.#isOn ? readingsOff : readingsOn)) return false;
    if (!isAgainst) return false;
    this.#isOn = !this.#isOn;
    this.#against = 0;
    return true;
  }
}
