import { describe, expect, test } from "vitest";
import { LimitError, withLimit } from "../lib/load/limit.js";
import { closedLoop, openLoop } from "../lib/load/loops.js";
import { mixedPrompts, randomPrompts } from "../lib/load/prompts.js";
import { poissonArrivals, randomInteger, seededRandom } from "../lib/load/random.js";
import { EventStreamParser } from "../lib/load/sse.js";
import {
  type Arrival,
  checkAnswered,
  failuresOf,
  gapsOf,
  type LoadRequest,
  type Outcome,
  type StreamClient,
  type StreamOptions,
  type StreamRecord,
  steadyDecodeRate,
  textParts,
  tokenParts,
  ttftsOf,
} from "../lib/load/stream.js";
import { median } from "../lib/stats.js";
import { recordOf } from "./support.js";

describe("random numbers", () => {
  test("are the same for a seed, others for another", () => {
    const draw = (seed: number): number[] => Array.from({ length: 5 }, seededRandom(seed));
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
  });

  test("cover their range evenly", () => {
    const random = seededRandom(3);
    const counts = new Array<number>(10).fill(0);
    for (let n = 0; n < 10_000; n++) {
      const value = randomInteger(random, 10);
      counts[value] = (counts[value] ?? 0) + 1;
    }
    expect(counts).toHaveLength(10);
    for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(150);
  });
});

describe("poissonArrivals", () => {
  test("has exponential gaps of the rate's mean", () => {
    const arrivals = poissonArrivals(4, 20_000, 1);
    const gaps = arrivals.map((at, i) => at - (arrivals[i - 1] ?? 0));
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(0);
    expect((arrivals.at(-1) ?? 0) / gaps.length / 250).toBeCloseTo(1, 1);
    // The median of an exponential distribution is ln 2 of its mean.
    expect(median(gaps) / (250 * Math.LN2)).toBeCloseTo(1, 1);
  });

  test("is repeatable and scales with the rate", () => {
    expect(poissonArrivals(2, 10, 5)).toEqual(poissonArrivals(2, 10, 5));
    expect(poissonArrivals(2, 10, 5)).not.toEqual(poissonArrivals(2, 10, 6));
    const [slow, fast] = [poissonArrivals(1, 10, 5), poissonArrivals(2, 10, 5)];
    for (const [i, at] of slow.entries()) expect(at / 2).toBeCloseTo(fast[i] ?? 0, 9);
  });

  test("refuses a rate that never arrives", () => {
    expect(() => poissonArrivals(0, 1, 1)).toThrow("rate of 0");
    expect(() => poissonArrivals(Number.NaN, 1, 1)).toThrow("rate of NaN");
  });
});

describe("prompts", () => {
  test("of random ids have their length, leave out what is excluded, and repeat with the seed", () => {
    const prompts = randomPrompts(20, 8, 5, [0, 2], 1);
    expect(prompts.every((prompt) => prompt.length === 8)).toBe(true);
    expect(new Set(prompts.flat())).toEqual(new Set([1, 3, 4]));
    expect(randomPrompts(20, 8, 5, [0, 2], 1)).toEqual(prompts);
    expect(() => randomPrompts(1, 1, 2, [0, 1], 1)).toThrow("all excluded");
  });

  test("of mixed lengths begin differently and hold short and long ones", () => {
    const prompts = mixedPrompts(100, 1, "s");
    expect(new Set(prompts.map((prompt) => prompt.split(" ")[0])).size).toBe(100);
    const lengths = prompts.map((prompt) => prompt.split("?").length - 1);
    expect(new Set(lengths)).toEqual(new Set([1, 6, 30]));
    expect(mixedPrompts(3, 1, "other")[0]).not.toBe(prompts[0]);
  });
});

describe("EventStreamParser", () => {
  const STREAM =
    ': keepalive 1/2\n\ndata: {"a": 1}\n\nevent: x\ndata: first\ndata:second\r\n\r\n\ndata: [DONE]\n\n';
  const EVENTS = ['{"a": 1}', "first\nsecond", "[DONE]"];

  test("gives the data of whole events, without comments and other fields", () => {
    expect(new EventStreamParser().push(STREAM)).toEqual(EVENTS);
  });

  test("does not depend on where the pieces were cut", () => {
    for (let cut = 1; cut < STREAM.length; cut++) {
      const parser = new EventStreamParser();
      expect([...parser.push(STREAM.slice(0, cut)), ...parser.push(STREAM.slice(cut))]).toEqual(EVENTS);
    }
  });

  test("holds an event back until it is complete", () => {
    const parser = new EventStreamParser();
    expect(parser.push("data: a\n")).toEqual([]);
    expect(parser.push("\n")).toEqual(["a"]);
  });
});

describe("withLimit", () => {
  test("gives the result, or the error, of work in time", async () => {
    expect(await withLimit("it", 60_000, async () => 3)).toBe(3);
    await expect(withLimit("it", 60_000, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
  });

  test("rejects and aborts when the time is over, whatever the work does", async () => {
    let signal: AbortSignal | undefined;
    const never = withLimit("the answer", 1, (given) => {
      signal = given;
      return new Promise(() => undefined);
    });
    await expect(never).rejects.toThrow(new LimitError("the answer did not come within 0.001 s"));
    expect(signal?.aborted).toBe(true);
  });
});

const at = (atMs: number, tokens: number | null = 1, hasText = true): Arrival => ({ atMs, tokens, hasText });

describe("parts of an answer", () => {
  const record = recordOf([at(12, 1, false), at(15, 2), at(16, 0)], 10);

  test("are told apart by text and by tokens", () => {
    expect(textParts(record).map(({ atMs }) => atMs)).toEqual([15, 16]);
    expect(tokenParts(record).map(({ atMs }) => atMs)).toEqual([12, 15]);
    expect(tokenParts(recordOf([at(1, null)], 0))).toHaveLength(1);
  });

  test("make the time to first token and the gaps", () => {
    expect(ttftsOf([record, recordOf([], 0)])).toEqual([2]);
    expect(gapsOf(record.arrivals)).toEqual([3, 1]);
    expect(gapsOf([at(1)])).toEqual([]);
  });
});

describe("failures of a load", () => {
  const request = (index: number): LoadRequest => ({ index, prompt: "?", maxTokens: 1 });
  const answered: Outcome = { request: request(0), record: recordOf([at(1)], 0) };
  const failed: Outcome[] = [
    { request: request(1), error: "first" },
    { request: request(2), error: "second" },
  ];

  test("are listed by request", () => {
    expect(failuresOf([answered, ...failed])).toEqual([
      { index: 1, error: "first" },
      { index: 2, error: "second" },
    ]);
  });

  test("are thrown where everything must be answered, the first one after the prefix", () => {
    expect(() => checkAnswered([answered])).not.toThrow();
    expect(() => checkAnswered([answered, ...failed])).toThrow(/^first$/);
    expect(() => checkAnswered(failed, "warm-up: ")).toThrow(/^warm-up: first$/);
  });
});

describe("steadyDecodeRate", () => {
  test("counts tokens only while all clients decode", () => {
    const a = recordOf([at(0), at(100), at(200), at(300)], 0);
    const b = recordOf([at(150), at(250), at(350)], 0);
    // Both decode from 150 to 300: 200, 250, 300.
    expect(steadyDecodeRate([a, b], 2)).toBeCloseTo(3 / 0.15, 9);
  });

  test("with one client leaves the prefills between answers out", () => {
    const answers = [recordOf([at(50), at(60), at(70)], 0), recordOf([at(170), at(180), at(190)], 70)];
    expect(steadyDecodeRate(answers, 1)).toBeCloseTo(100, 9);
  });

  test("does not take one answer after another for two at once", () => {
    const answers = [recordOf([at(0), at(10)], 0), recordOf([at(10), at(20)], 10)];
    expect(steadyDecodeRate(answers, 2)).toBeNull();
  });

  test("is null for answers of one part, and where tokens are not told", () => {
    expect(steadyDecodeRate([recordOf([at(1, 5)], 0)], 1)).toBeNull();
    expect(steadyDecodeRate([recordOf([at(1, null), at(2, null)], 0)], 1)).toBeNull();
  });
});

/** Answers when it is told to, and notes what it was asked. */
class HeldClient implements StreamClient {
  readonly name = "mlx-worker";
  readonly asked: number[] = [];
  readonly #held = new Map<number, (error?: Error) => void>();

  stream({ index }: LoadRequest, _options: StreamOptions): Promise<StreamRecord> {
    this.asked.push(index);
    return new Promise((resolve, reject) => {
      this.#held.set(index, (error) => (error ? reject(error) : resolve(recordOf([at(1)], 0))));
    });
  }

  /** Ends an answer and lets everything happen that follows from it. */
  async end(index: number, error?: Error): Promise<void> {
    this.#held.get(index)?.(error);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const requests = (count: number): LoadRequest[] =>
  Array.from({ length: count }, (_, index) => ({ index, prompt: "p", maxTokens: 1 }));

describe("closedLoop", () => {
  test("a client sends the next request when its previous has ended, failed or not", async () => {
    const client = new HeldClient();
    const run = closedLoop(client, requests(4), 2, 60_000);
    expect(client.asked).toEqual([0, 1]);
    await client.end(1);
    expect(client.asked).toEqual([0, 1, 2]);
    await client.end(2, new Error("refused"));
    expect(client.asked).toEqual([0, 1, 2, 3]);
    await client.end(0);
    await client.end(3);
    const { outcomes } = await run;
    expect(outcomes.map(({ request }) => request.index)).toEqual([0, 1, 2, 3]);
    expect(outcomes.map((outcome) => ("error" in outcome ? outcome.error : "fine"))).toEqual([
      ...["fine", "fine", "refused", "fine"],
    ]);
  });

  test("an answer that never ends is a failure with its limit", async () => {
    const { outcomes } = await closedLoop(new HeldClient(), requests(1), 1, 1);
    expect(outcomes).toMatchObject([{ error: "mlx-worker's answer 1 did not come within 0.001 s" }]);
  });
});

describe("openLoop", () => {
  test("sends requests whether or not those before have ended", async () => {
    const client = new HeldClient();
    const ended: number[] = [];
    const run = openLoop(client, requests(3), [0, 0, 0], 60_000, ({ request }) => ended.push(request.index));
    expect(client.asked).toEqual([0, 1, 2]);
    for (const index of [2, 0, 1]) await client.end(index);
    expect((await run).outcomes.map(({ request }) => request.index)).toEqual([0, 1, 2]);
    expect(ended).toEqual([2, 0, 1]);
  });
});
