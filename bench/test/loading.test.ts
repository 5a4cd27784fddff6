import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseFlags } from "../lib/flags.js";
import { seededRandom } from "../lib/load/random.js";
import { LOADING_FLAGS } from "../lib/loading/args.js";
import { loadingPoints, loadingSpec } from "../lib/loading/chart.js";
import {
  type Checkpoint,
  describeCheckpoint,
  evict,
  FORMATS,
  llamaTensors,
  randomBlock,
  safetensorsHeader,
  TINY_SHAPE,
  tensorBytes,
  writeLlama,
} from "../lib/loading/checkpoints.js";
import { type LoadRun, summarizeLoads } from "../lib/loading/loads.js";
import { casesOf, casesOfOneWorker, type LoadCase, modesOf } from "../lib/loading/modes.js";
import { CHECKS, returningAtOnce, summarizeNaNCheck } from "../lib/loading/nan-check.js";
import {
  highest,
  type ProcessMemory,
  parseStatus,
  parseStorageReads,
  processMemory,
  watchMemory,
} from "../lib/loading/process-memory.js";
import { loadLines, nanLines, stallLines } from "../lib/loading/report.js";
import { longestGaps, measureStall, type StallRun, summarizeStalls } from "../lib/loading/stalls.js";
import type { LoadingWorker, TimedLoad } from "../lib/loading/worker.js";
import { describe as figures } from "../lib/stats.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "loading-"));
});
afterAll(() => rm(folder, { recursive: true }));

const STATUS = [
  "Name:\tmlx-worker",
  "VmPeak:\t 2000000 kB",
  "VmHWM:\t     300 kB",
  "VmRSS:\t     200 kB",
  "RssAnon:\t     150 kB",
  "RssFile:\t      49 kB",
  "RssShmem:\t       1 kB",
  "",
].join("\n");

const memoryOf = (resident: number, peak = resident): ProcessMemory => ({
  resident,
  anonymous: resident - 5,
  file: 5,
  shared: 0,
  peak,
});

describe("memory of a process", () => {
  test("is read from /proc/PID/status", () => {
    const memory = { resident: 200, anonymous: 150, file: 49, shared: 1, peak: 300 };
    const inBytes = Object.fromEntries(Object.entries(memory).map(([kind, kb]) => [kind, kb * 1024]));
    expect(parseStatus(STATUS)).toEqual(inBytes);
  });

  test("is unknown when a line is missing, as for a process that has ended", () => {
    expect(parseStatus(STATUS.replace(/^RssAnon.*\n/m, ""))).toBeNull();
    expect(parseStatus("")).toBeNull();
  });

  test("the reads from storage are not those of the whole", () => {
    expect(parseStorageReads("rchar: 5\nread_bytes: 4096\ncancelled_write_bytes: 0\n")).toBe(4096);
    expect(parseStorageReads("rchar: 5\n")).toBeNull();
  });

  test("the highest of each kind may come from different samples", () => {
    const mapped = { ...memoryOf(10, 30), file: 9 };
    expect(highest([memoryOf(20), mapped])).toEqual({ ...memoryOf(20, 30), file: 9 });
    expect(highest([])).toBeNull();
  });

  test.runIf(process.platform === "linux")("is sampled while work is under way", async () => {
    const { result, most } = await watchMemory(process.pid, async () => "done");
    expect(result).toBe("done");
    expect(most?.resident).toBeGreaterThan(1e6);
    expect(await processMemory(2 ** 30)).toBeNull();
    await expect(watchMemory(process.pid, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
  });
});

describe("random checkpoints", () => {
  test("a header gives each tensor the bytes after those of the one before", () => {
    const tensors = [
      { name: "a", dtype: "BF16", shape: [2, 3] },
      { name: "b", dtype: "U32", shape: [4] },
    ] as const;
    const header = safetensorsHeader(tensors);
    const length = Number(header.readBigUInt64LE());
    expect(length % 8).toBe(0);
    expect(header.length).toBe(8 + length);
    expect(JSON.parse(header.subarray(8).toString())).toEqual({
      a: { dtype: "BF16", shape: [2, 3], data_offsets: [0, 12] },
      b: { dtype: "U32", shape: [4], data_offsets: [12, 28] },
    });
  });

  test("floats are small and finite", () => {
    const floats = randomBlock("F32", seededRandom(1));
    const halves = randomBlock("BF16", seededRandom(1));
    for (let at = 0; at < 4096; at += 4) expect(Math.abs(floats.readFloatLE(at))).toBeLessThanOrEqual(0.05);
    for (let at = 0; at < 4096; at += 2) {
      const widened = Buffer.alloc(4);
      halves.copy(widened, 2, at, at + 2);
      expect(Math.abs(widened.readFloatLE())).toBeLessThanOrEqual(0.05);
    }
    expect(new Set(halves.subarray(0, 64)).size).toBeGreaterThan(8);
  });

  test("a quantised matrix is three tensors that belong together", () => {
    const tensors = llamaTensors(TINY_SHAPE, "4bit");
    const parts = tensors.filter(({ name }) => name.startsWith("model.layers.0.mlp.down_proj"));
    expect(parts.map(({ dtype, shape }) => [dtype, shape])).toEqual([
      ["U32", [64, 16]],
      ["BF16", [64, 2]],
      ["BF16", [64, 2]],
    ]);
  });

  test.each(FORMATS)("%s is written, described and the same for the same seed", async (format) => {
    const paths = [join(folder, `a-${format}`), join(folder, `b-${format}`)];
    const found: Checkpoint[] = [];
    for (const path of paths) {
      await writeLlama(path, TINY_SHAPE, format, 3);
      found.push(await describeCheckpoint(path));
    }
    const [a, b] = found as [Checkpoint, Checkpoint];
    expect(a.sha256).toEqual(b.sha256);
    const data = llamaTensors(TINY_SHAPE, format).map(tensorBytes);
    const header = safetensorsHeader(llamaTensors(TINY_SHAPE, format)).length;
    expect(a.weightsBytes).toBe(data.reduce((total, bytes) => total + bytes, header));
    expect(a).toMatchObject({
      name: `a-${format}`,
      quantised: format === "4bit",
      storedDType: format === "f32" ? null : "bfloat16",
    });
    const { model } = JSON.parse(await readFile(join(a.path, "tokenizer.json"), "utf8"));
    expect(Object.keys(model.vocab)).toHaveLength(256);
    expect(model.vocab).toMatchObject({ A: 65, Ġ: 32, Ċ: 10, ÿ: 255 });
  });

  test("a single file counts as a GGUF file", async () => {
    const path = join(folder, "one.gguf");
    await writeFile(path, "weights");
    expect(await describeCheckpoint(path)).toMatchObject({
      name: "one",
      files: [path],
      weightsBytes: 7,
      quantised: true,
      storedDType: "float16",
    });
    await expect(describeCheckpoint(join(folder, "none"))).rejects.toThrow("ENOENT");
  });

  test("a file that is not there cannot be evicted", async () => {
    expect(await evict([join(folder, "none")])).toBe(false);
  });
});

const checkpoint: Checkpoint = {
  name: "m",
  path: "m",
  files: [],
  weightsBytes: 100,
  sha256: {},
  quantised: true,
  storedDType: "bfloat16",
};

test("modes are those that may differ, and those of one worker change nothing but the request", () => {
  const names = (one: Checkpoint): string[] => modesOf(one).map(({ name }) => name);
  expect(names(checkpoint)).toEqual(["default", "packed", "as-stored"]);
  expect(names({ ...checkpoint, quantised: false })).toEqual(["default", "as-stored"]);
  expect(names({ ...checkpoint, quantised: false, storedDType: null })).toEqual(["default"]);
  expect(casesOf([checkpoint, checkpoint])).toHaveLength(6);
  expect(casesOfOneWorker([checkpoint]).map(({ mode }) => mode.name)).toEqual(["default", "as-stored"]);
});

const timed = (ms: number, cached = false): TimedLoad => ({
  ms,
  workerMs: ms,
  cached,
  sizeBytes: 1,
  storageBytes: 0,
});

const loadRun = (cycle: number, firstMs: number, changes: Partial<LoadRun> = {}): LoadRun => ({
  checkpoint: "m",
  mode: "default",
  weightsBytes: 100,
  cycle,
  disk: timed(1000),
  first: timed(firstMs),
  again: timed(1, true),
  unloadMs: 2,
  reload: timed(firstMs / 2),
  memory: { bare: memoryOf(20), most: memoryOf(150, 160), rest: memoryOf(140), unloaded: memoryOf(30) },
  ...changes,
});

describe("loads", () => {
  test("memory is taken by the weights, less the bare worker's; second loads by the first of their cycle", () => {
    const [summary, ...more] = summarizeLoads([loadRun(0, 100), loadRun(1, 200)]);
    expect(more).toEqual([]);
    expect(summary?.byWeights?.peak.values).toEqual([1.4, 1.4]);
    expect(summary?.byWeights?.rest.median).toBeCloseTo(1.2, 9);
    expect(summary?.byWeights?.peakAnonymous.median).toBeCloseTo(1.3, 9);
    expect(summary?.againByFirst.values).toEqual([0.01, 0.005]);
    expect(summary?.reloadByFirst.values).toEqual([0.5, 0.5]);
    expect(loadLines([summary as NonNullable<typeof summary>]).join("\n")).toContain("1.40×");
  });

  test("what the platform does not tell is left open", () => {
    const [summary] = summarizeLoads([loadRun(0, 100, { disk: null, memory: null })]);
    expect(summary).toMatchObject({ disk: null, byWeights: null, peakBytes: null });
    expect(loadLines([summary as NonNullable<typeof summary>]).join("\n")).toContain("–");
  });
});

/** A worker whose stream has a part every few milliseconds, but for a pause while a model is loaded. */
function scriptedWorker(pauseMs: number) {
  let paused = false;
  const worker: Pick<LoadingWorker, "load" | "unload" | "streamWithoutEnd"> = {
    load: async () => {
      paused = true;
      await sleep(pauseMs);
      paused = false;
      return timed(pauseMs);
    },
    unload: async () => 0,
    streamWithoutEnd: async (_model, signal, onArrival) => {
      for (;;) {
        await sleep(1);
        signal.throwIfAborted();
        if (!paused) onArrival({ atMs: performance.now(), tokens: 1, hasText: true });
      }
    },
  };
  return worker;
}

describe("stalls", () => {
  const load: LoadCase = { checkpoint, mode: { name: "default", env: {} } };

  test.each([0, 1])("cycle %d finds the pause in the load and not in the quiet stretch", async (cycle) => {
    const run = await measureStall(scriptedWorker(200), "tiny", "t", load, cycle, 30);
    expect(run).toMatchObject({ stream: "tiny", checkpoint: "m", mode: "default", cycle });
    expect(run.load.gaps.max).toBeGreaterThan(190);
    expect(run.load.gaps.max).toBeGreaterThan(run.quiet.gaps.max);
    expect(run.quiet.gaps.count).toBeGreaterThan(1);
    expect(run.unload.gaps.count).toBeGreaterThan(0);
  });

  test("fails when the stream does", async () => {
    const worker = { ...scriptedWorker(1), streamWithoutEnd: () => Promise.reject(new Error("full")) };
    await expect(measureStall(worker, "tiny", "t", load, 0, 1)).rejects.toThrow("full");
  });

  test("the summary has the median and the longest of the longest gaps", () => {
    const stretch = (...gaps: number[]) => ({ ms: 10, gaps: figures(gaps) });
    expect(longestGaps([stretch(1, 9), stretch(2, 5), stretch(7)])).toEqual({
      median: 7,
      max: 9,
      values: [9, 5, 7],
    });
    const run = (cycle: number, ms: number): StallRun => ({
      stream: "tiny",
      checkpoint: "m",
      mode: "default",
      cycle,
      quiet: stretch(1),
      load: stretch(ms),
      unload: stretch(2),
    });
    const summaries = summarizeStalls([run(0, 30), run(1, 120), { ...run(0, 5), stream: "model" }]);
    expect(summaries.map(({ stream, load: { max } }) => [stream, max])).toEqual([
      ["tiny", 120],
      ["model", 5],
    ]);
    expect(stallLines(summaries).join("\n")).toContain("75 / 120");
    const loads = summarizeLoads([loadRun(0, 100)]);
    expect(loadingPoints({ loads, stalls: summaries })).toHaveLength(2 + 2 * 3);
    const machine = { cpu: "c", cores: 2, memoryBytes: 1, os: "o", node: "n" };
    const spec = loadingSpec({ machine, timestamp: "2025-01-01T00:00:00.000Z", loads, stalls: [] });
    expect(JSON.stringify(spec)).toContain("Resident memory");
    expect(JSON.stringify(spec)).not.toContain("Longest gap");
  });
});

describe("the check for NaN", () => {
  test("a function of Go is made to return at once, and only one that is there", () => {
    const source = "package p\n\nfunc f() error {\n\treturn g()\n}\n";
    expect(returningAtOnce(source, "func f() error {", "nil")).toBe(
      "package p\n\nfunc f() error {\n\treturn nil\n\treturn g()\n}\n",
    );
    expect(() => returningAtOnce(source, "func h() error {", "nil")).toThrow("func h() error {");
    expect(() => returningAtOnce(source + source, "func f() error {", "nil")).toThrow("has to follow");
  });

  test.each([...CHECKS])("$file has the function that is replaced", async ({ file, signature, result }) => {
    const source = await readFile(new URL(`../../${file}`, import.meta.url), "utf8");
    expect(returningAtOnce(source, signature, result).length).toBeGreaterThan(source.length);
  });

  test("its cost is the ratio within a cycle", () => {
    const run = { checkpoint: "m", mode: "default" as const, weightsBytes: 1 };
    const summaries = summarizeNaNCheck([
      { ...run, cycle: 0, checkingMs: 110, trustingMs: 100 },
      { ...run, cycle: 1, checkingMs: 240, trustingMs: 200 },
    ]);
    expect(summaries[0]?.ratio.values).toEqual([1.1, 1.2]);
    expect(nanLines(summaries).join("\n")).toContain("1.150×");
  });
});

test("the command line", () => {
  expect(parseFlags(["--scenarios", "stalls", "--formats", "f32,bf16"], LOADING_FLAGS)).toMatchObject({
    scenarios: ["stalls"],
    formats: ["f32", "bf16"],
    cycles: 3,
  });
  expect(() => parseFlags(["--formats", "q8"], LOADING_FLAGS)).toThrow("not one of 4bit, bf16, f32");
});
