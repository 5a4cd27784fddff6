import { onAbort } from "./abort.js";
import { camelKeys } from "./casing.js";
import type { WorkerSupervisor } from "./supervisor.js";
import type { HealthStatus, RuntimeState } from "./types/runtime.js";

/** The health of an engine, found out without starting a worker. */
export async function checkHealth(
  supervisor: WorkerSupervisor,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<HealthStatus> {
  const { connection, closed, refusal, restartCount, uptimeMs } = supervisor;
  const idle = { uptimeMs, activeStreams: 0, queued: 0, loadedModels: 0, restartCount };
  if (closed) return { status: "unhealthy", worker: "closed", ...idle, error: refusal };
  if (connection === undefined) {
    if (refusal === undefined) return { status: "healthy", worker: "stopped", ...idle };
    return { status: "unhealthy", worker: "crash-loop", ...idle, error: refusal };
  }
  if (connection.ready === undefined) return { status: "degraded", worker: "starting", ...idle };

  const { pid } = connection.ready;
  const running = { ...idle, ...(typeof pid === "number" ? { pid } : {}) };
  try {
    const answer = await within(timeoutMs, signal, (limit) =>
      connection.request("runtime/state", {}, { signal: limit }),
    );
    const { activeStreams, queued, loadedModels: models } = camelKeys(answer) as RuntimeState;
    const figures = { activeStreams, queued, loadedModels: models.length, models };
    return { status: "healthy", worker: "running", ...running, ...figures };
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    const worker = supervisor.connection === connection ? "unresponsive" : "stopped";
    return { status: "unhealthy", worker, ...running, error };
  }
}

/** Runs a call with a signal that fires after `ms` or with `signal`. */
async function within<T>(
  ms: number,
  signal: AbortSignal | undefined,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const late = (): void => controller.abort(new Error(`the worker did not answer within ${ms} ms`));
  const timer = setTimeout(late, ms);
  const stopListening = signal && onAbort(signal, () => controller.abort(signal.reason));
  try {
    return await call(controller.signal);
  } finally {
    clearTimeout(timer);
    stopListening?.();
  }
}
