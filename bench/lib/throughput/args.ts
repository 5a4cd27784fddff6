import { type FlagTable, integer, listOf, toggle } from "../flags.js";
import { type LoadOptions, loadFlags } from "../load/args.js";

/** Settings of one run of the throughput benchmark. */
export interface ThroughputOptions extends LoadOptions {
  /** Clients of each level, in the order of measuring. */
  readonly concurrency: readonly number[];
  /** Least requests of a level; every client sends at least two. */
  readonly requests: number;
  /** Token ids of a prompt. */
  readonly promptTokens: number;
  /** Tokens of every answer. */
  readonly maxTokens: number;
  /** Prompts whose tokens are compared with the baseline's. */
  readonly parity: number;
  /** Compare the scheduler off, on, and on without its fast path, at one client. */
  readonly schedulerOff: boolean;
  /** Turns of that comparison. */
  readonly turns: number;
}

/** The options of `bench:throughput`. */
export const THROUGHPUT_FLAGS: FlagTable<ThroughputOptions> = {
  ...loadFlags("its batch_generate"),
  concurrency: {
    option: "--concurrency",
    value: "<list>",
    doc: "clients of each level, separated by commas",
    parse: listOf(integer(1, 256)),
    default: [1, 2, 4, 8, 16, 32],
  },
  requests: {
    option: "--requests",
    value: "<n>",
    doc: "least requests of a level, rounded up to the same number, two or more, for every client",
    parse: integer(1, 10_000),
    default: 16,
  },
  promptTokens: {
    option: "--prompt-tokens",
    value: "<n>",
    doc: "random token ids of a prompt",
    parse: integer(1, 100_000),
    default: 16,
  },
  maxTokens: {
    option: "--max-tokens",
    value: "<n>",
    doc: "tokens of every answer; nothing ends one earlier",
    parse: integer(2, 100_000),
    default: 32,
  },
  parity: {
    option: "--parity",
    value: "<n>",
    doc: "prompts whose tokens are compared with the baseline's, alone (0: none)",
    parse: integer(0, 10_000),
    default: 8,
  },
  schedulerOff: toggle(
    "--scheduler-off",
    "compare MLX_GPU_SCHEDULER=off, =on, and =on with MLX_FAST_PATH=off, at one client",
  ),
  turns: {
    option: "--turns",
    value: "<n>",
    doc: "with --scheduler-off: turns of each setting, one after the other",
    parse: integer(1, 1000),
    default: 8,
  },
};

/** Requests of a level: the same number for every client, two at least. */
export function requestsOf(options: ThroughputOptions, clients: number): number {
  return clients * Math.max(2, Math.ceil(options.requests / clients));
}
