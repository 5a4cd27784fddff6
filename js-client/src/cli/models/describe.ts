import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../exit.js";
import { ifThere, isGguf, type Tell } from "../files.js";
import type { Io } from "../io.js";
import { lacksInspect, runWorker, tooOldToInspect } from "../worker-binary.js";

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
 * Asks the worker's `inspect`; without a worker, or where that fails, config.json tells what it can.
 *
 * @param worker path of the worker's executable
 */
export async function describeModel(
  path: string,
  worker: string | undefined,
  env: Io["env"],
  tell: Tell,
): Promise<ModelFacts> {
  if (worker !== undefined) {
    try {
      const output = await runWorker(worker, ["inspect", path, "--json"], env);
      const report = lacksInspect(output) ? undefined : parseObject(output.stdout);
      if (report !== undefined) return fromReport(report);
      const { code, stderr } = output;
      tell(
        lacksInspect(output)
          ? tooOldToInspect(worker)
          : `${worker} inspect ${path} ended with exit code ${code}: ${stderr.trim() || "no output"}`,
      );
    } catch (error) {
      tell(messageOf(error));
    }
  }
  return fromConfig(path, tell);
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
export async function fromConfig(path: string, tell: Tell): Promise<ModelFacts> {
  const file = join(path, "config.json");
  const source = isGguf(path) ? undefined : await ifThere(file, readFile(file, "utf8"), tell);
  const config = parseObject(source ?? "") ?? {};
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
    // Not JSON: nothing is known from it.
    return undefined;
  }
}
