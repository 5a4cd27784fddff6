import { describe, expect, onTestFinished, test } from "vitest";
import type { BaselinePython } from "../baseline/ensure.js";
import { RunnerError } from "../baseline/json-lines.js";
import { MlxLmServer } from "../baseline/mlx-lm-server.js";
import type { Arrival, LoadRequest } from "../lib/load/stream.js";

/** Streams as mlx-lm's server does; the prompt selects what goes wrong. */
const SERVER = `
  import { createServer } from "node:http";
  const port = Number(process.argv[process.argv.indexOf("--port") + 1]);
  const event = (choice, usage) =>
    "data: " + JSON.stringify({ choices: choice ? [choice] : [], ...(usage && { usage }) }) + "\\n\\n";
  createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) body += piece;
    const { prompt, max_tokens, stream, stream_options } = JSON.parse(body);
    if (prompt === "refuse") return response.writeHead(404).end('{"error": "no such model"}');
    if (prompt === "hang") return response.write(event({ text: "a", finish_reason: null }));
    response.write(": keepalive 3/3\\n\\n");
    for (let n = 0; n < max_tokens; n++) response.write(event({ text: "t" + n, finish_reason: null }));
    response.write(event({ text: "", finish_reason: prompt === "early" ? "stop" : "length" }));
    const prompt_tokens_details = { cached_tokens: prompt === "cached" ? 2 : 0 };
    if (stream && stream_options.include_usage) {
      response.write(event(null, { prompt_tokens: 3, completion_tokens: max_tokens, prompt_tokens_details }));
    }
    response.end("data: [DONE]\\n\\n");
  }).listen(port, "127.0.0.1");
`;

/** A Python that runs a line of JavaScript. */
function fakePython(source: string): BaselinePython {
  const python: BaselinePython = {
    command: (_, ...args) => ({
      file: process.execPath,
      args: ["--input-type=module", "-e", source, "--", ...args],
      env: { ...process.env, OPENBLAS_NUM_THREADS: "2" },
    }),
    openblas: true,
    withThreads: () => python,
  };
  return python;
}

function serverOf(source: string): MlxLmServer {
  const model = { folder: "m", weights: "float32", device: "cpu" };
  const server = new MlxLmServer(fakePython(source), model, 16);
  onTestFinished(() => server.stop());
  return server;
}

const ask = (prompt: LoadRequest["prompt"]): LoadRequest => ({ index: 0, prompt, maxTokens: 3 });
const { signal } = new AbortController();

describe("MlxLmServer", () => {
  test("starts on a free port, streams text part by part, and can be started again", async () => {
    const server = serverOf(SERVER);
    expect(server.settings).toEqual({
      weights: "float32",
      "prompt-concurrency": "16",
      OPENBLAS_NUM_THREADS: "2",
    });
    for (let time = 0; time < 2; time++) {
      await server.start();
      const seen: Arrival[] = [];
      const record = await server.stream(ask("p"), { signal, onArrival: (arrival) => seen.push(arrival) });
      expect(record).toMatchObject({ promptTokens: 3, completionTokens: 3, tokens: null, queueMs: null });
      expect(record.arrivals).toHaveLength(3);
      expect(seen).toEqual(record.arrivals);
      expect(record.arrivals[0]?.atMs).toBeGreaterThanOrEqual(record.sentMs);
      await server.stop();
    }
  });

  test.each([
    ["refuse", 'answered 404: {"error": "no such model"}'],
    ["early", "ended an answer early (finish reason stop)"],
    ["cached", "took 2 prompt tokens from its cache"],
  ])("what is not an answer from nothing to the last token fails: %s", async (prompt, message) => {
    const server = serverOf(SERVER);
    await server.start();
    await expect(server.stream(ask(prompt), { signal })).rejects.toThrow(message);
  });

  test("an aborted request ends at once", async () => {
    const server = serverOf(SERVER);
    await server.start();
    const controller = new AbortController();
    const options = { signal: controller.signal, onArrival: () => controller.abort() };
    await expect(server.stream(ask("hang"), options)).rejects.toThrow("abort");
  });

  test("a server that ends while it starts is an error with its last words", async () => {
    const server = serverOf("console.error('no such folder'); process.exit(3);");
    await expect(server.start()).rejects.toThrow(RunnerError);
    await expect(server.start()).rejects.toThrow("(exit code 3)\nno such folder");
  });

  test("token ids are refused", async () => {
    await expect(serverOf(SERVER).stream(ask([1]), { signal })).rejects.toThrow("not token ids");
  });
});
