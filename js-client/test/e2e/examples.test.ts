import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { expect, onTestFinished, test } from "vitest";
import * as client from "../../src/index.js";
import { MODEL_FILE, ROOT, WORKER } from "./paths.js";

const EXAMPLES = join(ROOT, "examples");

/** A running example and what it has printed so far. */
interface Program {
  readonly process: ChildProcess;
  readonly output: { stdout: string; stderr: string };
  /** Resolves with the exit code when the program is gone. */
  readonly ended: Promise<number | null>;
}

/** Starts a program as its first line says, in a folder where it must not look for anything. */
function start(file: string, args: readonly string[], env: Record<string, string> = {}): Program {
  const loader = file.endsWith(".ts") ? ["--import", import.meta.resolve("tsx")] : [];
  const child = spawn(process.execPath, [...loader, join(EXAMPLES, file), ...args], {
    cwd: join(ROOT, "js-client"),
    env: { ...process.env, MODEL: undefined, MLX_WORKER_PATH: WORKER, MLX_LOG_LEVEL: "warn", ...env },
    stdio: "pipe",
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const output = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (output.stderr += text));
  return { process: child, output, ended: once(child, "close").then(([code]) => code as number | null) };
}

/** Runs a program to its end and returns what it printed. */
async function run(file: string, input = ""): Promise<string> {
  const { process: child, output, ended } = start(file, [MODEL_FILE]);
  child.stdin?.end(input);
  expect({ code: await ended, stderr: output.stderr }).toEqual({ code: 0, stderr: "" });
  return output.stdout;
}

/** The next line of a program's output that fits. */
async function lineOf({ process: child, output }: Program, pattern: RegExp): Promise<RegExpExecArray> {
  for (;;) {
    const found = pattern.exec(output.stdout);
    if (found !== null) return found;
    if (child.exitCode !== null) throw new Error(`it ended without ${pattern}: ${JSON.stringify(output)}`);
    await once(child.stdout ?? child, "data");
  }
}

test.each(["quick-start.mjs", "commonjs.cjs"])("%s", async (file) => {
  expect(await run(file)).toContain("The capital of France is Paris");
});

test("stop-and-logprobs.mjs", async () => {
  const printed = await run("stop-and-logprobs.mjs");
  expect(printed).toContain("ended by stop: nine\n");
  expect(printed.split("\n")[0]).toMatch(/^".*eight.*"/);
  expect(printed).not.toMatch(/^".*nine.*" ended/);
  expect(printed).toContain(" twice: true\n");
  expect(printed.match(/^" ?\w+": \d+\.\d %$/gm)).toHaveLength(3);
  expect(printed).toMatch(/^" Paris": [4-9]\d\.\d %$/m);
});

test("concurrency.mjs", async () => {
  const printed = await run("concurrency.mjs");
  expect(printed.match(/^\w+: \S.*$/gm)).toHaveLength(8);
  expect(printed).toMatch(/^Tokyo: .*Japan/m);
  const [, refused, largest] = /^24 answers, (\d+) refusals, at most (\d+) requests/m.exec(printed) ?? [];
  expect(Number(refused)).toBeGreaterThan(0);
  expect(Number(largest)).toBeGreaterThan(1);
});

test("chat.mjs keeps the conversation", async () => {
  const printed = await run("chat.mjs", "What is the capital of France?\n\nAnd of Italy?\n");
  expect(printed).toContain("Paris");
  // The second message makes sense only to somebody who remembers the first.
  expect(printed).toContain("The capital of Italy is Rome");
  expect(printed).toContain("\n5 messages\n");
});

test("errors.ts", async () => {
  expect((await run("errors.ts")).split("\n")).toEqual([
    "a folder that is not there: this model cannot be loaded",
    "a model that nobody loaded: load the model first",
    "a hot model: parameter temperature is wrong",
    expect.stringMatching(/^a long prompt: \d+ tokens do not fit into 64$/),
    "a worker that dies: the worker was ended by SIGKILL",
    "the call after it: ok",
    "a call after close(): EngineClosed (client)",
    "",
  ]);
});

test("route-handler.ts", async () => {
  const printed = await run("route-handler.run.ts");
  expect(printed).toContain("200 The capital of France is Paris");
  expect(printed).toContain("the client left: cancelled\n");
});

test("electron-main.mjs", async () => {
  const printed = await run("electron-main.run.mjs");
  expect(printed).toMatch(/The capital of France is Paris.*\nend: \d+ tokens\n/);
  expect(printed).toContain("\nend: stopped\n");
  expect(printed).toMatch(/\nquit\n$/);
});

test("streaming.mjs stops on Ctrl-C and says so", async () => {
  const program = start("streaming.mjs", [MODEL_FILE]);
  await lineOf(program, /\w+/);
  program.process.kill("SIGINT");
  expect(await program.ended).toBe(0);
  expect(program.output).toMatchObject({
    stdout: expect.stringMatching(/\nstopped after [1-9]\d* characters\n$/),
    stderr: "",
  });
});

test("http-sse.mjs streams, and stops the answer of a client that leaves", async () => {
  const program = start("http-sse.mjs", [MODEL_FILE], { PORT: "0" });
  const [, url] = await lineOf(program, /^(http:\S+)$/m);
  const chat = (body: string, signal?: AbortSignal): Promise<Response> =>
    fetch(`${url}/chat`, { method: "POST", body, signal: signal ?? null });
  const ask = (content: string, maxTokens: number): string =>
    JSON.stringify({ messages: [{ role: "user", content }], maxTokens });

  const answer = await chat(ask("What is the capital of France?", 32));
  expect(answer.headers.get("content-type")).toBe("text/event-stream");
  const events = (await answer.text()).split("\n\n").filter((event) => event !== "");
  const texts = events.slice(0, -1).map((event) => JSON.parse(event.replace(/^data: /, "")).text as string);
  expect(texts.length).toBeGreaterThan(1);
  expect(texts.join("")).toMatch(/\w+/);
  expect(events.at(-1)).toMatch(/^event: end\ndata: \{"usage":.*"finishReason":"(stop|length)"\}$/);

  const leave = new AbortController();
  const left = await chat(ask("Tell me a long story.", 2000), leave.signal);
  if (left.body === null) throw new Error("the response has no body");
  await once(
    createInterface(Readable.fromWeb(left.body as never)).on("error", () => {}),
    "line",
  );
  leave.abort();
  await lineOf(program, /^a client left, its answer was stopped$/m);
  const health = (await (await fetch(`${url}/health`)).json()) as object;
  expect(health).toMatchObject({ status: "healthy", loadedModels: 1 });

  expect(await chat("{").then(({ status }) => status)).toBe(400);
  expect(await chat(ask("Hi", 0)).then(({ status }) => status)).toBe(400);
  expect(await fetch(`${url}/elsewhere`).then(({ status }) => status)).toBe(404);

  program.process.kill("SIGTERM");
  expect(await program.ended).toBe(0);
  expect(program.output.stdout).toMatch(/\nclosed\n$/);
  expect(program.output.stderr).toBe("");
});

/** Files that are run through another one. */
const PARTS = ["electron-main.mjs", "route-handler.ts"];
const PROGRAMS = readdirSync(EXAMPLES).filter((name) => /\.[cm]?[jt]s$/.test(name) && !PARTS.includes(name));

test.each(PROGRAMS)("%s without a model says what it wants", async (file) => {
  const { process: child, output, ended } = start(file, []);
  child.stdin?.end();
  expect(await ended).toBe(2);
  expect(output.stderr).toMatch(
    new RegExp(`^Which model\\? (node|tsx) ${basename(file)} PATH, or MODEL=PATH`),
  );
});

test("the guide to errors names every class", () => {
  const guide = readFileSync(join(ROOT, "docs", "guides", "errors.md"), "utf8");
  const classes = Object.keys(client).filter((name) => name.endsWith("Error"));
  expect(classes.length).toBeGreaterThan(15);
  expect(classes.filter((name) => !guide.includes(`\n| \`${name}\` |`))).toEqual([]);
});
