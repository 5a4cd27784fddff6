import type { GenerationStats } from "./types.js";

/** Options of {@link GenerationStatsCollector}. */
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

  /** Forgets everything; the clock stands. */
  reset(): void {
    this.#startTime = undefined;
    this.#firstTokenTime = undefined;
    this.#lastTime = undefined;
    this.#tokens = 0;
  }

  /** The figures so far. */
  getStats(): GenerationStats {
    const { totalTime, timeToFirstToken } = this;
    return {
      tokensGenerated: this.#tokens,
      tokensPerSecond: totalTime > 0 ? this.#tokens / totalTime : 0,
      timeToFirstToken,
      totalTime,
    };
  }

  /** Tokens a second of {@link totalTime}; 0 before the clock runs. */
  get tokensPerSecond(): number {
    return this.getStats().tokensPerSecond;
  }

  /** Seconds from the start of the clock to the first token; 0 before it. */
  get timeToFirstToken(): number {
    if (this.#startTime === undefined || this.#firstTokenTime === undefined) return 0;
    return Math.max((this.#firstTokenTime - this.#startTime) / 1000, 0);
  }

  /** Seconds from the start of the clock to the last token, or to now without one. */
  get totalTime(): number {
    if (this.#startTime === undefined) return 0;
    return Math.max(((this.#lastTime ?? performance.now()) - this.#startTime) / 1000, 0.0001);
  }

  /** Tokens that were counted. */
  get tokensGenerated(): number {
    return this.#tokens;
  }

  /** Whether the clock was started. */
  get isStarted(): boolean {
    return this.#startTime !== undefined;
  }

  /** Whether a token was counted. */
  get hasTokens(): boolean {
    return this.#tokens > 0;
  }
}
