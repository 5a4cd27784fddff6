import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Finding } from "../../src/cli/doctor/report.js";
import { FAKE_WORKER, run, temporaryFolder } from "./harness.js";

async function doctor(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ code: number; ok: boolean; finding: (name: string) => Finding | undefined }> {
  const { code, stdout } = await run(["doctor", "--json", ...args], { env });
  const { ok, findings } = JSON.parse(stdout) as { ok: boolean; findings: Finding[] };
  return { code, ok, finding: (name) => findings.find((known) => known.name === name) };
}

describe("doctor", () => {
  test("says what is found, and tries it with a model of its own", async () => {
    const { code, ok, finding } = await doctor([], { HF_TOKEN: "hf_secret", MLX_LOG_LEVEL: "warn" });
    expect({ code, ok }).toEqual({ code: 0, ok: true });
    expect(finding("worker")?.text).toContain(`found: ${FAKE_WORKER}`);
    expect(finding("version")?.text).toBe("mlx-worker 0.0.0-fake");
    expect(finding("runtime")?.text).toContain("backend cpu, device fake, 1.0 GiB of memory");
    expect(finding("runtime")?.text).toContain("MLX 1.2.3, mlx-c 4.5.6, protocol 1");
    expect(finding("self-test")?.text).toMatch(/^llama loaded in 5.0 ms, 144 tokens generated/);
    expect(finding("environment")?.text).toContain("HF_TOKEN=(set)");
    expect(finding("environment")?.text).toContain("MLX_LOG_LEVEL=warn");
  });

  test("prints text to paste, without secrets", async () => {
    const { code, stdout } = await run(["doctor", "--no-self-test"], { env: { HF_TOKEN: "hf_secret" } });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^ok +host +mlx-worker \d/m);
    expect(stdout).toMatch(/^ok +runtime +backend cpu/m);
    expect(stdout).not.toContain("self-test");
    expect(stdout).not.toContain("hf_secret");
  });

  test("uses the model that is given", async () => {
    const { requests } = await run(["doctor", "org/name"]);
    expect(requests("load_model")).toEqual([{ model_id: "org/name" }]);
    expect((await doctor(["missing"])).finding("self-test")).toMatchObject({
      status: "fail",
      text: 'model "missing" was not found',
    });
  });

  test("a missing worker fails with every place", async () => {
    const { code, ok, finding } = await doctor([], { MLX_WORKER_PATH: "/nowhere" });
    expect({ code, ok }).toEqual({ code: 1, ok: false });
    expect(finding("worker")).toMatchObject({
      status: "fail",
      text: expect.stringContaining("/nowhere (does not exist)"),
    });
    expect(finding("runtime")).toBeUndefined();
  });

  test("a worker that cannot be run, or does not start, fails with its reason", async () => {
    const path = join(temporaryFolder(), "mlx-worker");
    writeFileSync(path, "#!/no/such/interpreter\n");
    chmodSync(path, 0o755);
    expect((await doctor(["--worker", path])).finding("version")).toMatchObject({ status: "fail" });
    const { code, finding } = await doctor([], { FAKE_BROKEN: "1" });
    expect(code).toBe(1);
    expect(finding("runtime")?.text).toContain("MLX could not start");
    expect(finding("self-test")).toBeUndefined();
  });

  test("wrong figures fail the self-test", async () => {
    const { code, finding } = await doctor([], { FAKE_NAN: "1" });
    expect(code).toBe(1);
    expect(finding("self-test")).toMatchObject({ status: "fail", text: expect.stringContaining("NaN") });
  });

  test("a models folder that is not there is worth a warning", async () => {
    const { code, finding } = await doctor(["--models-dir", "/nowhere", "--no-self-test"]);
    expect(code).toBe(0);
    expect(finding("models folder")).toMatchObject({ status: "warn", text: "/nowhere (no such folder)" });
  });
});

describe("bench", () => {
  test("measures at each concurrency", async () => {
    const { code, stdout, requests } = await run([
      "bench",
      "m",
      "--json",
      "--rounds",
      "2",
      "--max-tokens",
      "4",
    ]);
    expect(code).toBe(0);
    const report = JSON.parse(stdout) as { results: { totalTokensPerSecond: number }[] };
    expect(report).toMatchObject({
      model: "m",
      backend: "cpu",
      promptTokens: 128,
      maxTokens: 4,
      results: [
        { concurrency: 1, ttftMs: 250, decodeTokensPerSecond: 40 },
        { concurrency: 4, ttftMs: 250, decodeTokensPerSecond: 40 },
      ],
    });
    for (const { totalTokensPerSecond } of report.results) expect(totalTokensPerSecond).toBeGreaterThan(0);
    const measured = requests("generate").slice(1); // the first one warms up
    expect(measured).toHaveLength(2 * (1 + 4));
    for (const { prompt_tokens, ...rest } of measured) {
      expect(prompt_tokens).toHaveLength(128);
      expect(rest).toMatchObject({ max_tokens: 4, temperature: 0, ignore_eos: true, cache_prompt: false });
    }
  });

  test("prints a table", async () => {
    const { stdout } = await run([
      "bench",
      "m",
      "--concurrency",
      "2",
      "--max-tokens",
      "2",
      "--prompt-tokens",
      "5",
    ]);
    expect(stdout).toContain("m on fake (cpu), loaded in 5.0 ms");
    expect(stdout).toMatch(/^2 +250 ms +40\.0 +[\d.]+$/m);
    expect(stdout).toContain("5 prompt tokens, 2 generated, 3 rounds");
  });
});
