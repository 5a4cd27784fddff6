import type { GenerationStats } from "./types.js";

export interface StatsCollectorOptions {
  /** Starts the clock with the first token. Default true. */
  autoStart?: boolean;
}

/** Figures of a stream of tokens, measured where they are consumed. */
export class GenerationStatsCollector {
  readonly #autoStart: boolean;
  /** Milliseconds of a monotonic clock. */
  #startTime: number | undefined;
  #firstTokenTime: number | undefined;
  #lastTime: number | undefined;
  #tokens = 0;

  constructor({ autoStart = true }: StatsCollectorOptions = {}) {
    this.#autoStart = autoStart;
  }

  /** Starts the clock, if it has not been. */
  start(): void {
    this.#startTime ??= performance.now();
  }

  /** Counts a token. */
  update(_token: string | { token: string }): void {
    if (this.#autoStart) this.start();
    const now = performance.now();
    this.#firstTokenTime ??= now;
    this.#lastTime = now;
    this.#tokens += 1;
  }

  /** Stops the clock of a stream without tokens; with tokens it stands at the last one. */
  stop(): void {
    this.#lastTime ??= performance.now();
  }

  reset(): void {
    this.#startTime = undefined;
    this.#firstTokenTime = undefined;
    this.#lastTime = undefined;
    this.#tokens = 0;
  }

  getStats(): GenerationStats {
    const { totalTime, timeToFirstToken } = this;
    return {
      tokensGenerated: this.#tokens,
      tokensPerSecond: totalTime > 0 ? this.#tokens / totalTime : 0,
      timeToFirstToken,
      totalTime,
    };
  }

  get tokensPerSecond(): number {
    return this.getStats().tokensPerSecond;
  }

  /** Seconds. */
  get timeToFirstToken(): number {
    if (this.#startTime === undefined || this.#firstTokenTime === undefined) return 0;
    return Math.max((this.#firstTokenTime - this.#startTime) / 1000, 0);
  }

  /** Seconds. */
  get totalTime(): number {
    if (this.#startTime === undefined) return 0;
    return Math.max(((this.#lastTime ?? performance.now()) - this.#startTime) / 1000, 0.0001);
  }

  get tokensGenerated(): number {
    return this.#tokens;
  }

  get isStarted(): boolean {
    return this.#startTime !== undefined;
  }

  get hasTokens(): boolean {
    return this.#tokens > 0;
  }
}
