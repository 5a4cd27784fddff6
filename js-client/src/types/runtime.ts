/** The device that the worker computes on. */
export interface DeviceInfo {
  readonly name: string;
  readonly memoryBytes: number;
  /** Memory that the device recommends as the limit. */
  readonly recommendedBytes?: number;
}

/** The worker process and its runtime. */
export interface RuntimeInfo {
  /** Protocol version. */
  readonly protocol: number;
  /** Version of the worker. */
  readonly version: string;
  readonly mlxVersion: string;
  readonly mlxCVersion: string;
  readonly backend: "metal" | "cuda" | "cpu";
  readonly device: DeviceInfo;
  readonly pid: number;
  readonly capabilities: readonly string[];
  readonly memory: {
    readonly activeBytes: number;
    readonly cacheBytes: number;
    readonly peakBytes: number;
    readonly rssBytes: number;
  };
  readonly uptimeMs: number;
}

/** A model in the worker. */
export interface ModelState {
  readonly modelId: string;
  readonly state: "loading" | "ready" | "unloading";
  readonly type: "text";
}

/** What the worker is doing. */
export interface RuntimeState {
  readonly loadedModels: readonly ModelState[];
  readonly activeStreams: number;
  readonly queued: number;
  /** Workers that this engine started after its first one. */
  readonly restartCount: number;
}

/** Percentiles of a latency over its last 1000 samples, in milliseconds. */
export interface LatencySummary {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  /** All samples, also those that the percentiles no longer see. */
  readonly count: number;
}

/** A rate per second over the last 5, 30 and 60 seconds. */
export interface Rates {
  readonly "5s": number;
  readonly "30s": number;
  readonly "60s": number;
}

/** Figures of the worker's scheduler. */
export interface RuntimeStats {
  readonly latencyMs: {
    readonly queue: LatencySummary;
    readonly ttft: LatencySummary;
    readonly interToken: LatencySummary;
    readonly total: LatencySummary;
  };
  /** Tokens. */
  readonly throughput: Rates;
  readonly requestsPerSecond: Rates;
  readonly batch: {
    /** Rows of the last step. */
    readonly rows: number;
    readonly maxRows: number;
    readonly windowMs: number;
    /** Number of steps by their rows. */
    readonly sizes: Readonly<Record<string, number>>;
  };
  readonly requests: {
    readonly submitted: number;
    readonly rejected: number;
    readonly completed: number;
    readonly cancelled: number;
    readonly timedOut: number;
    readonly failed: number;
    /** Times that a running request had to give up its memory and was put back into the queue. */
    readonly preempted: number;
    readonly active: number;
    readonly queued: number;
  };
  readonly tokens: { readonly prompt: number; readonly completion: number };
  readonly stepsTotal: number;
  readonly fastPathTotal: number;
  readonly degradationsTotal: number;
  /** Degradations that are over. */
  readonly recoveriesTotal: number;
  readonly tuner: TunerStats;
  readonly memory: MemoryStats;
  readonly prefixCache: FeatureStats;
  readonly speculative: FeatureStats;
  readonly uptimeMs: number;
}

/** What keeps the latency target. */
export interface TunerStats {
  /** Whether the row limit follows the latency (`MLX_AUTO_TUNE`). */
  readonly enabled: boolean;
  /** Latency of a token that is aimed at. */
  readonly targetMs: number;
  readonly p99Ms: number;
  /** Moving average of the 99th percentile. */
  readonly p99AverageMs: number;
  /** Rows that a step may have now. */
  readonly rowLimit: number;
  /** Whether the limit is lowered because the target was missed. */
  readonly degraded: boolean;
  /** Prompt tokens that a step may compute now. */
  readonly prefillBudgetTokens: number;
  readonly adjustments: number;
}

/** What admission by memory knows. */
export interface MemoryStats {
  readonly limitBytes: number;
  readonly weightsBytes: number;
  /** What the admitted requests may come to need. */
  readonly reservedBytes: number;
}

/** Figures of a feature; more than `enabled` where the worker offers it. */
export interface FeatureStats {
  readonly enabled: boolean;
  readonly [figure: string]: unknown;
}

/** Result of `healthCheck`. */
export interface HealthStatus {
  /**
   * "healthy": serves, or will when it is called; "degraded": the worker starts; "unhealthy": closed, in a crash loop,
   * or the worker does not answer.
   */
  readonly status: "healthy" | "degraded" | "unhealthy";
  readonly worker: "stopped" | "starting" | "running" | "unresponsive" | "crash-loop" | "closed";
  /** Process id of a worker that is ready. */
  readonly pid?: number;
  /** Time since the worker was started. */
  readonly uptimeMs: number;
  readonly activeStreams: number;
  readonly queued: number;
  readonly loadedModels: number;
  /** The models of a worker that answered. */
  readonly models?: readonly ModelState[];
  /** Workers that this engine started after its first one. */
  readonly restartCount: number;
  /** Why it is unhealthy. */
  readonly error?: unknown;
}
