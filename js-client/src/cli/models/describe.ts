import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Io } from "../io.js";
import { lacksInspect, runWorker } from "../worker-binary.js";

/** What can be said about a model without loading it. */
export interface ModelFacts {
  readonly architecture: string | undefined;
  /** Whether this worker runs it; undefined: not known. */
  readonly supported: boolean | undefined;
  /** Why it does not run, or what is missing when it does. */
  readonly unsupported: readonly string[];
  /** For example "4 bit affine". */
  readonly quantization: string | undefined;
  /** Tokens. */
  readonly contextLength: number | undefined;
}

/**
 * Asks the worker's `inspect`; without a worker, or with one that lacks it, config.json tells what it can.
 *
 * @param worker path of the worker's executable
 */
export async function describeModel(
  path: string,
  worker: string | undefined,
  env: Io["env"],
): Promise<ModelFacts> {
  if (worker !== undefined) {
    const output = await runWorker(worker, ["inspect", path, "--json"], env).catch(() => undefined);
    const report = output === undefined || lacksInspect(output) ? undefined : parseObject(output.stdout);
    if (report !== undefined) return fromReport(report);
  }
  return fromConfig(path);
}

function fromReport(report: Readonly<Record<string, unknown>>): ModelFacts {
  return {
    architecture: text(report.architecture),
    supported: typeof report.supported === "boolean" ? report.supported : undefined,
    unsupported: Array.isArray(report.unsupported) ? report.unsupported.map(String) : [],
    quantization: quantization(report.quantization),
    contextLength: positive(report.context_length),
  };
}

/** Facts from a folder's config.json; nothing is known of a .gguf file. */
export async function fromConfig(path: string): Promise<ModelFacts> {
  const config = parseObject(await readFile(join(path, "config.json"), "utf8").catch(() => "")) ?? {};
  return {
    architecture: text(config.model_type),
    supported: undefined,
    unsupported: [],
    quantization: quantization(config.quantization),
    contextLength: positive(config.max_position_embeddings),
  };
}

function quantization(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null || !("bits" in value)) return undefined;
  return `${value.bits} bit ${"mode" in value ? value.mode : "affine"}`;
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function positive(value: unknown): number | undefined {
  return typeof value === "number" && value > 0 ? value : undefined;
}

function parseObject(source: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(source);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
