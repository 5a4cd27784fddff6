import { type FlagTable, integer, number, oneOf, text, toggle } from "./flags.js";

/** Settings of every benchmark's result. */
export interface ResultOptions {
  /** Folder of the JSON and SVG results. */
  readonly output: string;
  /** Print the JSON result on stdout instead of tables. */
  readonly json: boolean;
  readonly help: boolean;
}

/** Settings of one run of the fifty questions. */
export interface Options extends ResultOptions {
  /** Path of a .gguf file or model folder, or a model id. */
  readonly model: string;
  /** Number of questions, from the first. */
  readonly limit: number;
  /** Most tokens of an answer. */
  readonly maxTokens: number;
  /** Runs of all questions, each with freshly started engines. */
  readonly cycles: number;
  /** 0: greedy decoding. */
  readonly temperature: number;
  /** Seed of sampling; the question's number is added to it. */
  readonly seed: number;
  readonly baseline: "mlx-lm" | "none";
}

/** Path of the model that `make model` fetches, relative to the repository. */
export const TEST_MODEL = ".deps/models/SmolLM2-135M-Instruct.Q4_1.gguf";

/** Where results go, relative to the repository. */
export const RESULTS_FOLDER = "bench/results";

/** The flags of {@link ResultOptions}, which end every help. */
export const RESULT_FLAGS: FlagTable<ResultOptions> = {
  output: {
    option: "--output",
    value: "<folder>",
    doc: "where the JSON result and the plot go",
    parse: text,
    default: RESULTS_FOLDER,
  },
  json: toggle("--json", "print the JSON result on stdout; everything else goes to stderr"),
  help: toggle("--help", "print this"),
};

/** The options of the fifty questions. `questions`: how many there are, the largest `--limit`. */
export function optionsTable(questions: number): FlagTable<Options> {
  return {
    model: {
      option: "--model",
      value: "<path or id>",
      doc: "a .gguf file, a model folder or an id that the worker finds",
      parse: text,
      default: TEST_MODEL,
    },
    limit: {
      option: "--limit",
      value: "<n>",
      doc: `ask only the first n questions (1 to ${questions})`,
      parse: integer(1, questions),
      default: questions,
    },
    maxTokens: {
      option: "--max-tokens",
      value: "<n>",
      doc: "most tokens of an answer",
      parse: integer(1, 100_000),
      default: 50,
    },
    cycles: {
      option: "--cycles",
      value: "<n>",
      doc: "repeat everything n times, engines started afresh; gives a spread",
      parse: integer(1, 100),
      default: 1,
    },
    temperature: {
      option: "--temperature",
      value: "<t>",
      doc: "0 is greedy decoding, the only setting whose tokens can be compared",
      parse: number(0, 2),
      default: 0,
    },
    seed: {
      option: "--seed",
      value: "<n>",
      doc: "seed of sampling with a temperature above 0",
      parse: integer(0, 2 ** 31 - 1),
      default: 0,
    },
    baseline: {
      option: "--baseline",
      value: "<engine>",
      doc: "mlx-lm: run Python mlx-lm alternately in the same run; none",
      parse: oneOf("mlx-lm", "none"),
      default: "none",
    },
    ...RESULT_FLAGS,
  };
}
