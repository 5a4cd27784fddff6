import { setTimeout as sleep } from "node:timers/promises";
import { withLimit } from "./limit.js";
import type { LoadRequest, Outcome, StreamClient } from "./stream.js";

/** What a load came to. Times are on the clock of `performance.now()`, milliseconds. */
export interface LoadRun {
  /** The first request was sent. */
  readonly startedMs: number;
  /** The last answer had ended. */
  readonly endedMs: number;
  /** By request. */
  readonly outcomes: readonly Outcome[];
}

/** Sends one request; a failure is its outcome. */
async function attempt(client: StreamClient, request: LoadRequest, limitMs: number): Promise<Outcome> {
  try {
    const record = await withLimit(`${client.name}'s answer ${request.index + 1}`, limitMs, (signal) =>
      client.stream(request, { signal }),
    );
    return { request, record };
  } catch (error) {
    return { request, error: error instanceof Error ? error.message : String(error) };
  }
}

/**
 * A closed loop: so many clients, each of which sends the next request when its previous one has ended.
 *
 * @param limitMs longest time of one answer, milliseconds; an answer that takes longer has failed
 */
export async function closedLoop(
  client: StreamClient,
  requests: readonly LoadRequest[],
  clients: number,
  limitMs: number,
): Promise<LoadRun> {
  const outcomes: Outcome[] = [];
  const waiting = requests.values();
  const startedMs = performance.now();
  const work = async (): Promise<void> => {
    for (const request of waiting) outcomes.push(await attempt(client, request, limitMs));
  };
  await Promise.all(Array.from({ length: clients }, work));
  const endedMs = performance.now();
  return { startedMs, endedMs, outcomes: outcomes.sort((a, b) => a.request.index - b.request.index) };
}

/**
 * An open loop: requests are sent at given times, whatever has become of those before.
 *
 * @param arrivals milliseconds from the start, ascending, one a request
 * @param onEnd told of every request that has ended
 */
export async function openLoop(
  client: StreamClient,
  requests: readonly LoadRequest[],
  arrivals: readonly number[],
  limitMs: number,
  onEnd: (outcome: Outcome) => void = () => undefined,
): Promise<LoadRun> {
  const startedMs = performance.now();
  const running: Promise<Outcome>[] = [];
  for (const [i, request] of requests.entries()) {
    const wait = startedMs + (arrivals[i] ?? 0) - performance.now();
    if (wait > 0) await sleep(wait);
    const outcome = attempt(client, request, limitMs);
    outcome.then(onEnd);
    running.push(outcome);
  }
  const outcomes = await Promise.all(running);
  return { startedMs, endedMs: performance.now(), outcomes };
}
