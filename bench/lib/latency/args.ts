import { type Flag, type FlagTable, integer, listOf, number, oneOf, UsageError } from "../flags.js";
import { type LoadOptions, loadFlags } from "../load/args.js";

/** Kinds of load; README.md says what each is. */
export const SCENARIOS = ["poisson", "long-prompt", "concurrent-ttft"] as const;

/** One of {@link SCENARIOS}. */
export type Scenario = (typeof SCENARIOS)[number];

/** Settings of one run of the latency benchmark. */
export interface LatencyOptions extends LoadOptions {
  readonly scenarios: readonly Scenario[];
  /** Requests per second; auto: {@link CAPACITY_FRACTIONS} of the measured capacity. */
  readonly rates: readonly number[] | "auto";
  /** Requests of each rate. */
  readonly requests: number;
  /** Tokens of every answer. */
  readonly maxTokens: number;
  /** Clients of the closed loop that measures the capacity. */
  readonly clients: number;
  /** Streams at once in the scenarios long-prompt and concurrent-ttft. */
  readonly streams: number;
  /** Tokens of the long prompt, about. */
  readonly longPrompt: number;
  /** Rounds of concurrent-ttft. */
  readonly rounds: number;
}

/** The rates of `--rates auto`, as fractions of the requests per second of a closed loop. */
export const CAPACITY_FRACTIONS = [0.3, 0.6, 0.9] as const;

const rateList = listOf(number(0.001, 100_000));

const rates: Flag<LatencyOptions["rates"]>["parse"] = (value, option) => {
  if (value === "auto") return "auto";
  try {
    return rateList(value, option);
  } catch (error) {
    throw new UsageError(`${(error as Error).message}; accepted besides: auto`);
  }
};

/** The options of `bench:latency`. */
export const LATENCY_FLAGS: FlagTable<LatencyOptions> = {
  ...loadFlags("its HTTP server"),
  scenarios: {
    option: "--scenarios",
    value: "<list>",
    doc: `of ${SCENARIOS.join(", ")}, separated by commas`,
    parse: listOf(oneOf(...SCENARIOS)),
    default: SCENARIOS,
  },
  rates: {
    option: "--rates",
    value: "<list>",
    doc: `requests per second; auto: ${CAPACITY_FRACTIONS.join(", ")} of the measured capacity`,
    parse: rates,
    default: "auto",
  },
  requests: {
    option: "--requests",
    value: "<n>",
    doc: "requests of each rate",
    parse: integer(1, 100_000),
    default: 40,
  },
  maxTokens: {
    option: "--max-tokens",
    value: "<n>",
    doc: "tokens of every answer; nothing ends one earlier",
    parse: integer(2, 100_000),
    default: 32,
  },
  clients: {
    option: "--clients",
    value: "<n>",
    doc: "clients of the closed loop that measures the capacity",
    parse: integer(1, 256),
    default: 16,
  },
  streams: {
    option: "--streams",
    value: "<n>",
    doc: "streams at once in long-prompt and concurrent-ttft",
    parse: integer(1, 256),
    default: 8,
  },
  longPrompt: {
    option: "--long-prompt",
    value: "<n>",
    doc: "tokens of the long prompt, about",
    parse: integer(16, 1_000_000),
    default: 2000,
  },
  rounds: {
    option: "--rounds",
    value: "<n>",
    doc: "rounds of concurrent-ttft",
    parse: integer(1, 10_000),
    default: 20,
  },
};
