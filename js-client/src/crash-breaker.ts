import { type MlxWorkerError, WorkerCrashLoopError } from "./errors.js";

/** Within which so many crashes stop new starts, in milliseconds. */
export const CRASH_WINDOW_MS = 60_000;

/** Refuses to start workers while the last ones have ended unexpectedly in quick succession. */
export class CrashBreaker {
  readonly #limit: number;
  readonly #now: () => number;
  /** Times of the last crashes, oldest first; never more than the limit. */
  #times: number[] = [];
  #last: MlxWorkerError | undefined;

  /**
   * @param limit crashes within {@link CRASH_WINDOW_MS} that stop new starts; 0: they never do
   * @param now a monotonic clock in milliseconds
   */
  constructor(limit: number, now: () => number = () => performance.now()) {
    this.#limit = limit;
    this.#now = now;
  }

  /** Counts a worker that ended unexpectedly. */
  record(error: MlxWorkerError): void {
    if (this.#limit === 0) return;
    this.#last = error;
    this.#times = [...this.#times, this.#now()].slice(-this.#limit);
  }

  /** What a start is refused with; undefined when a worker may be started. */
  get refusal(): WorkerCrashLoopError | undefined {
    const [oldest] = this.#times;
    if (oldest === undefined || this.#last === undefined || this.#times.length < this.#limit)
      return undefined;
    const retryAfterMs = oldest + CRASH_WINDOW_MS - this.#now();
    if (retryAfterMs <= 0) return undefined;
    return new WorkerCrashLoopError(this.#limit, CRASH_WINDOW_MS, retryAfterMs, this.#last);
  }
}
