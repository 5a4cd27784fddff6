import type { EngineName } from "../engine.js";
import { type FlagTable, integer, listOf, oneOf, UsageError } from "../flags.js";
import { RUN_FLAGS, type RunOptions } from "../load/args.js";

/** Prompts that are answered at once, and their mean length. */
export interface Case {
  readonly batch: number;
  readonly promptTokens: number;
}

/** Settings of one run of the CPU benchmark. */
export interface CpuOptions extends RunOptions {
  readonly engines: readonly EngineName[];
  /** By name, as {@link caseName} writes it. */
  readonly cases: readonly string[];
  /** Times that everything is measured, engines by turns. */
  readonly rounds: number;
  /** Tokens of every answer. */
  readonly maxTokens: number;
}

/** mlx-worker as it is, and with settings of MLX_CPU_KERNELS. */
export const WORKER_VARIANTS = {
  "mlx-worker": {},
  "kernels-off": { MLX_CPU_KERNELS: "off" },
  "kernels-avx2": { MLX_CPU_KERNELS: "avx2" },
} as const satisfies Partial<Record<EngineName, Readonly<Record<string, string>>>>;

/** The options of `bench:cpu`. */
export const CPU_FLAGS: FlagTable<CpuOptions> = {
  ...RUN_FLAGS,
  engines: {
    option: "--engines",
    value: "<list>",
    doc: "engines by turns: mlx-worker, mlx-lm, node-llama-cpp, kernels-off, kernels-avx2 (MLX_CPU_KERNELS)",
    parse: engineList,
    default: ["mlx-worker", "mlx-lm", "node-llama-cpp"],
  },
  cases: {
    option: "--cases",
    value: "<list>",
    doc: "prompts at once x mean length of a prompt, for example 8x1000; lengths in a batch differ",
    parse: listOf(caseText),
    default: ["1x100", "1x1000", "4x100", "16x100", "32x100"],
  },
  rounds: {
    option: "--rounds",
    value: "<n>",
    doc: "measure everything n times, engines by turns, forwards and backwards",
    parse: integer(1, 100),
    default: 5,
  },
  maxTokens: {
    option: "--max-tokens",
    value: "<n>",
    doc: "tokens of every answer; nothing ends one earlier",
    parse: integer(2, 100_000),
    default: 64,
  },
};

function engineList(value: string, option: string): readonly EngineName[] {
  const names = listOf<EngineName>(
    oneOf("mlx-worker", "mlx-lm", "node-llama-cpp", "kernels-off", "kernels-avx2"),
  )(value, option);
  if (!names.includes("mlx-worker")) {
    throw new UsageError(`${option} needs mlx-worker: the others are compared with it`);
  }
  return names;
}

function caseText(value: string, option: string): string {
  const [, batch, promptTokens] = /^(\d+)x(\d+)$/.exec(value) ?? [];
  if (batch === undefined || promptTokens === undefined) {
    throw new UsageError(`${option}: "${value}" is not a number of prompts x tokens, like 16x100`);
  }
  integer(1, 256)(batch, option);
  integer(2, 100_000)(promptTokens, option);
  return caseName({ batch: Number(batch), promptTokens: Number(promptTokens) });
}

/** `16x100` */
export function caseName({ batch, promptTokens }: Case): string {
  return `${batch}x${promptTokens}`;
}

/** The case of a name that the command line accepted. */
export function parseCase(name: string): Case {
  const [batch = 0, promptTokens = 0] = name.split("x").map(Number);
  return { batch, promptTokens };
}
