import { tmpdir } from "node:os";
import { RESULT_FLAGS, type ResultOptions, TEST_MODEL } from "../args.js";
import { type FlagTable, integer, listOf, oneOf, text } from "../flags.js";
import { FORMATS, type Format } from "./checkpoints.js";

/** What is measured; README.md says how. */
export const SCENARIOS = ["loads", "stalls", "nan-check"] as const;

/** One of {@link SCENARIOS}. */
export type Scenario = (typeof SCENARIOS)[number];

/** Models whose stream runs while others are loaded: a random one whose steps cost nothing, and `--model`. */
export const STREAMS = ["tiny", "model"] as const;

/** One of {@link STREAMS}. */
export type StreamName = (typeof STREAMS)[number];

/** Settings of one run of the loading benchmark. */
export interface LoadingOptions extends ResultOptions {
  /** Path of a .gguf file or model folder. */
  readonly model: string;
  readonly scenarios: readonly Scenario[];
  /** Formats that the random checkpoint is written in. */
  readonly formats: readonly Format[];
  /** Layers of the random checkpoint. */
  readonly layers: number;
  readonly streams: readonly StreamName[];
  /** Times that everything is measured. */
  readonly cycles: number;
  /** From the end of a load to the memory at rest, milliseconds. */
  readonly settle: number;
  /** Seed of the random weights. */
  readonly seed: number;
  /** Folder in which the random checkpoints are made, and removed at the end. */
  readonly scratch: string;
}

/** The options of `bench:loading`. */
export const LOADING_FLAGS: FlagTable<LoadingOptions> = {
  model: {
    option: "--model",
    value: "<path>",
    doc: "a .gguf file or a model folder",
    parse: text,
    default: TEST_MODEL,
  },
  scenarios: {
    option: "--scenarios",
    value: "<list>",
    doc: `of ${SCENARIOS.join(", ")}, separated by commas`,
    parse: listOf(oneOf(...SCENARIOS)),
    default: SCENARIOS,
  },
  formats: {
    option: "--formats",
    value: "<list>",
    doc: `what the random checkpoint is written in, of ${FORMATS.join(", ")}`,
    parse: listOf(oneOf(...FORMATS)),
    default: FORMATS,
  },
  layers: {
    option: "--layers",
    value: "<n>",
    doc: "layers of the random checkpoint: 12 million weights each, beside 131 million of the embedding",
    parse: integer(1, 1000),
    default: 10,
  },
  streams: {
    option: "--streams",
    value: "<list>",
    doc: `what runs while models are loaded in stalls, of ${STREAMS.join(", ")}`,
    parse: listOf(oneOf(...STREAMS)),
    default: STREAMS,
  },
  cycles: {
    option: "--cycles",
    value: "<n>",
    doc: "measure everything n times; gives a spread",
    parse: integer(1, 100),
    default: 3,
  },
  settle: {
    option: "--settle",
    value: "<ms>",
    doc: "from the end of a load to the memory at rest",
    parse: integer(0, 600_000),
    default: 2000,
  },
  seed: {
    option: "--seed",
    value: "<n>",
    doc: "seed of the random weights",
    parse: integer(0, 2 ** 31 - 1),
    default: 0,
  },
  scratch: {
    option: "--scratch",
    value: "<folder>",
    doc: "where the random checkpoints are made for the run (2 GB)",
    parse: text,
    default: tmpdir(),
  },
  ...RESULT_FLAGS,
};
