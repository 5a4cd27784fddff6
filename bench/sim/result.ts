/** The JSON that the simulator's test binary writes; result.go is its other side. */

/** Milliseconds. */
export interface Percentiles {
  readonly mean: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

/** One trace replayed with one setting. */
export interface Point {
  readonly sweep: string;
  readonly machine: string;
  readonly trace: string;
  readonly setting: string;
  /** The knob's value, or the setting's place among the others. */
  readonly x: number;
  readonly requests: number;
  readonly completed: number;
  /** Simulated time. */
  readonly seconds: number;
  readonly tokensPerSecond: number;
  /** From the arrival of the request's frame; long prompts are apart. */
  readonly ttft: Percentiles;
  readonly ttftLong?: Percentiles;
  readonly interToken: Percentiles;
  /** Submission to first step. */
  readonly queue: Percentiles;
  /** Arrival to end. */
  readonly total: Percentiles;
  readonly steps: number;
  readonly meanRows: number;
  /** At the end of the trace. */
  readonly rowLimit: number;
  readonly fastPath: number;
  readonly preempted: number;
  readonly degradations: number;
  readonly recoveries: number;
  readonly adjustments: number;
}

/** What one run of the sweeps gave. */
export interface Simulation {
  /** With the coefficients of their cost models. */
  readonly machines: readonly { readonly name: string; readonly about: string }[];
  readonly sweeps: readonly { readonly name: string; readonly about: string }[];
  /** Of a full trace. */
  readonly requests: number;
  readonly seed: number;
  readonly points: readonly Point[];
}
