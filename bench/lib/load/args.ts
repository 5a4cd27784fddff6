import { RESULT_FLAGS, type ResultOptions, TEST_MODEL } from "../args.js";
import { type FlagTable, integer, oneOf, text } from "../flags.js";

/** Settings that the benchmarks of load and of the CPU share. */
export interface RunOptions extends ResultOptions {
  /** Path of a .gguf file or model folder, or a model id. */
  readonly model: string;
  /** Seed of everything that is drawn. */
  readonly seed: number;
  /** Longest time of one answer, seconds. */
  readonly timeout: number;
}

/** Their flags. */
export const RUN_FLAGS: FlagTable<RunOptions> = {
  model: {
    option: "--model",
    value: "<path or id>",
    doc: "a .gguf file, a model folder or an id that the worker finds",
    parse: text,
    default: TEST_MODEL,
  },
  seed: {
    option: "--seed",
    value: "<n>",
    doc: "seed of prompts and arrivals",
    parse: integer(0, 2 ** 31 - 1),
    default: 0,
  },
  timeout: {
    option: "--timeout",
    value: "<s>",
    doc: "seconds after which an answer that has not ended counts as failed",
    parse: integer(1, 3600),
    default: 300,
  },
  ...RESULT_FLAGS,
};

/** Settings that the benchmarks of load share. */
export interface LoadOptions extends RunOptions {
  readonly baseline: "mlx-lm" | "none";
  /** Times that everything is measured. */
  readonly cycles: number;
}

/** Their flags. `baseline`: what `--baseline mlx-lm` compares with. */
export function loadFlags(baseline: string): FlagTable<LoadOptions> {
  const { model, ...others } = RUN_FLAGS;
  return {
    model,
    baseline: {
      option: "--baseline",
      value: "<engine>",
      doc: `mlx-lm: measure ${baseline} alternately in the same run; none`,
      parse: oneOf("mlx-lm", "none"),
      default: "none",
    },
    cycles: {
      option: "--cycles",
      value: "<n>",
      doc: "measure everything n times; gives a spread",
      parse: integer(1, 100),
      default: 1,
    },
    ...others,
  };
}

/** The variable of the worker's row limit with the value that was set for it, or else this one. */
export function withRowLimit(rows: number): Record<string, string> {
  const name = "MLX_GPU_SCHEDULER_BATCH_SIZE";
  return { [name]: process.env[name] || String(rows) };
}

/** The line that shows the worker's settings. */
export function settingsLine(environment: Readonly<Record<string, string>>): string {
  const settings = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  return `Worker     ${settings.join(" ")}`;
}
