import { type ChildProcess, execFile, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { text as readText } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import { writeTinyModel } from "../../../src/cli/doctor/tiny-model.js";
import { MODEL_FILE, WORKER } from "../../e2e/paths.js";
import { fakeHub, REPO } from "../fake-hub.js";
import { temporaryFolder } from "../harness.js";

/** The built command line. */
const CLI = fileURLToPath(new URL("../../../dist/cli.mjs", import.meta.url));
const ENV = { ...process.env, MLX_WORKER_PATH: WORKER, NO_COLOR: "1" };

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function cli(args: readonly string[], env: NodeJS.ProcessEnv = {}, input = ""): Promise<Outcome> {
  const running = promisify(execFile)(process.execPath, [CLI, ...args], { env: { ...ENV, ...env } });
  running.child.stdin?.end(input);
  try {
    return { code: 0, ...(await running) };
  } catch (error) {
    return error as Outcome;
  }
}

describe("the built command line with the real worker", () => {
  test("doctor finds nothing broken", async () => {
    const { stdout } = await cli(["doctor", "--json"]);
    const { ok, findings } = JSON.parse(stdout) as {
      ok: boolean;
      findings: { name: string; text: string }[];
    };
    expect(findings.filter(({ name }) => name === "self-test")).toMatchObject([
      { status: "ok", text: expect.stringContaining("144 tokens generated") },
    ]);
    expect(ok).toBe(true);
  });

  test("what pull brings is found by its id", async () => {
    const folder = temporaryFolder();
    await writeTinyModel(folder);
    const files = Object.fromEntries(
      readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]),
    );
    const hub = await fakeHub({ files });
    const env = { HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: temporaryFolder(), MLX_MODELS_DIR: undefined };
    expect((await cli(["generate", REPO, "hello"], env)).stderr).toContain("was not found");
    expect((await cli(["pull", REPO, "-q"], env)).code).toBe(0);
    const { stdout } = await cli(
      ["generate", REPO, "hello", "--max-tokens", "4", "--ignore-eos", "--json"],
      env,
    );
    expect(JSON.parse(stdout)).toMatchObject({ finishReason: "length", usage: { completionTokens: 4 } });
    const listed = JSON.parse((await cli(["models", "--json"], env)).stdout) as { models: object[] };
    expect(listed.models).toMatchObject([{ id: REPO, source: "hub-cache", architecture: "llama" }]);
  });

  test("chat keeps the conversation", async () => {
    const input = "Hello!\n/stats\nAnd again?\n/stats\n";
    const args = ["chat", MODEL_FILE, "--temperature", "0", "--max-tokens", "12", "--ignore-eos"];
    const { code, stdout, stderr } = await cli(args, {}, input);
    expect(code).toBe(0);
    expect(stdout.trim()).not.toBe("");
    const prompts = [...stderr.matchAll(/(\d+) prompt tokens.*, 12 generated/g)].map(([, count]) =>
      Number(count),
    );
    expect(prompts).toHaveLength(2);
    // The first message and its answer are in front of the second.
    expect(prompts[1]).toBeGreaterThan((prompts[0] ?? 0) + 12);
  });

  test("bench measures", async () => {
    const args = [
      "bench",
      MODEL_FILE,
      "--json",
      "--rounds",
      "1",
      "--max-tokens",
      "4",
      "--prompt-tokens",
      "8",
    ];
    const { results } = JSON.parse((await cli(args)).stdout) as { results: Record<string, number>[] };
    expect(results.map(({ concurrency }) => concurrency)).toEqual([1, 4]);
    for (const { ttftMs, totalTokensPerSecond } of results) {
      expect(ttftMs).toBeGreaterThan(0);
      expect(totalTokensPerSecond).toBeGreaterThan(0);
    }
  });

  test.each(["stdout", "stderr"] as const)("a reader of %s that goes away is no failure", async (name) => {
    const env = { ...ENV, HF_HUB_CACHE: temporaryFolder(), MLX_MODELS_DIR: undefined };
    const child = spawn(process.execPath, [CLI, "models", "--json"], { env });
    child[name].destroy();
    const other = name === "stdout" ? child.stderr : child.stdout;
    const [code, text] = await Promise.all([
      new Promise((resolve) => child.on("close", resolve)),
      readText(other),
    ]);
    expect(code).toBe(0);
    if (name === "stderr") expect(JSON.parse(text)).toMatchObject({ models: [] });
  });

  test("SIGINT ends generate with what there is", async () => {
    const child: ChildProcess = spawn(
      process.execPath,
      [CLI, "generate", MODEL_FILE, "Once upon a time", "--max-tokens", "1900", "--ignore-eos"],
      { env: ENV, stdio: ["ignore", "pipe", "pipe"] },
    );
    onTestFinished(() => void child.kill("SIGKILL"));
    let text = "";
    child.stdout?.on("data", (data) => {
      if (text === "") child.kill("SIGINT");
      text += data;
    });
    const code = await new Promise((resolve) => child.on("close", resolve));
    expect(code).toBe(130);
    expect(text.trim()).not.toBe("");
  });
});
