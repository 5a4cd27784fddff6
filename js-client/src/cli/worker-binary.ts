import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { resolveWorker } from "../resolve-worker.js";
import { CommandError, messageOf } from "./exit.js";
import type { Io } from "./io.js";

/** Where the worker was found, or why not. */
export interface FoundWorker {
  /** Undefined when there is none. */
  readonly path: string | undefined;
  /** Every place that was looked at, in order. */
  readonly tried: readonly string[];
  /** What is wrong and its usual causes, when there is none. */
  readonly problem: string | undefined;
}

/** Looks for the worker as an engine would, and remembers where. */
export function findWorker(workerPath: string | undefined, env: Io["env"]): FoundWorker {
  const packages: string[] = [];
  const resolvePackage = (specifier: string): string => {
    const name = specifier.replace(/\/package\.json$/, "");
    try {
      const path = createRequire(import.meta.url).resolve(specifier);
      packages.push(`platform package ${name}: installed`);
      return path;
    } catch (error) {
      packages.push(`platform package ${name}: not installed`);
      throw error;
    }
  };
  try {
    const path = resolveWorker({ workerPath, env, resolvePackage });
    const given = [
      `--worker: ${workerPath ?? "not set"}`,
      ...(workerPath === undefined ? [`MLX_WORKER_PATH: ${env.MLX_WORKER_PATH || "not set"}`] : []),
    ];
    return { path, tried: [...given, ...packages, `found: ${path}`], problem: undefined };
  } catch (error) {
    const tried = error instanceof Error && "tried" in error ? (error.tried as readonly string[]) : [];
    return { path: undefined, tried, problem: messageOf(error) };
  }
}

/** How a run of the worker's executable ended. */
export interface WorkerOutput {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Longest time that a mode of the worker which only prints may take, in milliseconds. */
const RUN_TIMEOUT_MS = 60_000;

/**
 * Runs the worker's executable in a mode that prints and ends.
 *
 * @throws CommandError when it cannot be started, when a signal ends it, and when it takes too long
 */
export function runWorker(
  path: string,
  args: readonly string[],
  env: Io["env"],
  timeoutMs: number = RUN_TIMEOUT_MS,
): Promise<WorkerOutput> {
  return new Promise((resolve, reject) => {
    const child = spawn(path, args, {
      env: { ...env },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: timeoutMs,
      killSignal: "SIGKILL",
    });
    const output = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const) {
      child[name].setEncoding("utf8");
      child[name].on("data", (text: string) => {
        output[name] += text;
      });
    }
    child.on("error", (error) => {
      reject(
        new CommandError("WorkerStartFailed", `${path} cannot be run: ${error.message}`, { cause: error }),
      );
    });
    child.on("close", (code, signal) => {
      if (code !== null) return resolve({ code, ...output });
      const [kind, end] = child.killed
        ? ["WorkerTimeout", `did not end within ${timeoutMs} ms`]
        : ["WorkerCrashed", `was ended by ${signal}`];
      const said = output.stderr.trim();
      reject(new CommandError(kind, `${[path, ...args].join(" ")} ${end}${said && `: ${said}`}`));
    });
  });
}

/** What to say of a worker whose `inspect` {@link lacksInspect}. */
export function tooOldToInspect(worker: string): string {
  return `${worker} is too old to inspect models; this is what config.json says. Whether it runs is not known.`;
}

/** Whether a run of `inspect` says that this worker knows no such command. */
export function lacksInspect({ code, stderr }: WorkerOutput): boolean {
  return code === 2 && /unexpected argument "inspect"/.test(stderr);
}
