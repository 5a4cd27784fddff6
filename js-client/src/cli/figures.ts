import type { GenerateResult } from "../index.js";
import { duration } from "./format.js";

/** One line about a generation. */
export function figures({ usage, timings, finishReason }: GenerateResult): string {
  return [
    `${usage.promptTokens} prompt tokens${usage.cachedTokens > 0 ? ` (${usage.cachedTokens} cached)` : ""}`,
    `${usage.completionTokens} generated`,
    `TTFT ${duration(timings.ttftMs)}`,
    `${timings.tokensPerSecond.toFixed(1)} tok/s`,
    `total ${duration(timings.totalMs)}`,
    `finish reason ${finishReason}`,
  ].join(", ");
}
