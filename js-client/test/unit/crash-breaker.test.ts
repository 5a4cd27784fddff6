import { expect, test } from "vitest";
import { CRASH_WINDOW_MS, CrashBreaker } from "../../src/crash-breaker.js";
import { WorkerCrashedError, WorkerCrashLoopError } from "../../src/errors.js";

const crash = (why: string) => new WorkerCrashedError({ exitCode: 1, signal: null, stderrTail: why });

test("so many crashes within the window refuse a start until the first of them is out of it", () => {
  let now = 1000;
  const breaker = new CrashBreaker(3, () => now);
  breaker.record(crash("first"));
  now += 10_000;
  breaker.record(crash("second"));
  expect(breaker.refusal).toBeUndefined();
  now += 10_000;
  const last = crash("third");
  breaker.record(last);

  expect(breaker.refusal).toBeInstanceOf(WorkerCrashLoopError);
  expect(breaker.refusal).toMatchObject({
    kind: "WorkerCrashLoop",
    crashes: 3,
    retryAfterMs: CRASH_WINDOW_MS - 20_000,
    cause: last,
  });
  expect(breaker.refusal?.message).toContain("3 times in 60 s; the next one may start in 40 s");
  now += CRASH_WINDOW_MS - 20_000 - 1;
  expect(breaker.refusal?.retryAfterMs).toBe(1);
  now += 1;
  expect(breaker.refusal).toBeUndefined();
});

test("one more crash after that closes it again, as there are three in the window still", () => {
  let now = 0;
  const breaker = new CrashBreaker(3, () => now);
  for (const time of [0, 50_000, 55_000, 61_000]) {
    now = time;
    breaker.record(crash("again"));
  }
  expect(breaker.refusal?.retryAfterMs).toBe(50_000 + CRASH_WINDOW_MS - 61_000);
});

test("crashes that are far apart, or a limit of 0, refuse nothing", () => {
  let now = 0;
  const rare = new CrashBreaker(2, () => now);
  const never = new CrashBreaker(0, () => now);
  for (let i = 0; i < 5; i += 1) {
    now += CRASH_WINDOW_MS;
    rare.record(crash("rare"));
    for (let j = 0; j < 5; j += 1) never.record(crash("often"));
  }
  expect(rare.refusal).toBeUndefined();
  expect(never.refusal).toBeUndefined();
});
