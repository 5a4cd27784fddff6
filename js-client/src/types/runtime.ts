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

/** What the worker is doing. */
export interface RuntimeState {
  readonly loadedModels: readonly {
    readonly modelId: string;
    readonly state: string;
    readonly type: string;
  }[];
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
    readonly active: number;
    readonly queued: number;
  };
  readonly tokens: { readonly prompt: number; readonly completion: number };
  readonly stepsTotal: number;
  readonly fastPathTotal: number;
  readonly degradationsTotal: number;
  readonly uptimeMs: number;
}
