import { type ChildProcess, spawn } from "node:child_process";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { withLimit } from "../lib/load/limit.js";
import { EventStreamParser } from "../lib/load/sse.js";
import type { Arrival, LoadRequest, StreamClient, StreamOptions, StreamRecord } from "../lib/load/stream.js";
import type { BaselinePython, PreparedModel } from "./ensure.js";
import { RunnerError } from "./json-lines.js";

const HOST = "127.0.0.1";
const START_LIMIT_MS = 120_000;
const STOP_LIMIT_MS = 5_000;
const POLL_MS = 100;
const STDERR_KEPT = 2_000;

/** Times that an attempt to start may find its port taken by somebody else in the meantime. */
const START_ATTEMPTS = 3;

/** The parts of a `/v1/completions` event that are used. */
interface CompletionEvent {
  readonly choices: readonly { readonly text?: string; readonly finish_reason?: string | null }[];
  readonly usage?: {
    readonly prompt_tokens: number;
    readonly completion_tokens: number;
    readonly prompt_tokens_details?: { readonly cached_tokens: number };
  };
}

/**
 * mlx-lm's own HTTP server, as a process on a free port, and a client of its streamed `/v1/completions`. A part of
 * an answer is an event with text; ids are not told.
 */
export class MlxLmServer implements StreamClient {
  readonly name = "mlx-lm";
  readonly #python: BaselinePython;
  readonly #model: PreparedModel;
  readonly #prefillBatchSize: number;
  #child: ChildProcess | undefined;
  #port = 0;
  #stderr = "";

  /**
   * Nothing is started before {@link start}.
   *
   * @param prefillBatchSize prompts that are prefilled together; mlx-lm's default is 8
   */
  constructor(python: BaselinePython, model: PreparedModel, prefillBatchSize: number) {
    this.#python = python;
    this.#model = model;
    this.#prefillBatchSize = prefillBatchSize;
  }

  /** What decides its speed, for the report. */
  get settings(): Record<string, string> {
    const threads = this.#python.command("mlx_lm_server.py").env.OPENBLAS_NUM_THREADS;
    return {
      weights: this.#model.weights,
      "prompt-concurrency": String(this.#prefillBatchSize),
      ...(threads !== undefined && { OPENBLAS_NUM_THREADS: threads }),
    };
  }

  /** Starts the server and waits until it answers. @throws RunnerError when it ends, LimitError when it hangs */
  async start(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#startOnce();
      } catch (error) {
        await this.stop();
        const taken = this.#stderr.includes("Address already in use");
        if (!taken || attempt === START_ATTEMPTS) throw error;
      }
    }
  }

  async #startOnce(): Promise<void> {
    this.#port = await freePort();
    this.#stderr = "";
    const { file, args, env } = this.#python.command(
      "mlx_lm_server.py",
      ...["--model", this.#model.folder, "--host", HOST, "--port", String(this.#port)],
      ...["--log-level", "WARNING", "--prompt-cache-size", "0"],
      ...["--prompt-concurrency", String(this.#prefillBatchSize)],
    );
    const child = spawn(file, args, { env, stdio: ["ignore", "ignore", "pipe"] });
    this.#child = child;
    // A benchmark that ends early must not leave a server behind, which nothing else would end.
    const kill = (): void => void child.kill("SIGKILL");
    process.once("exit", kill);
    child.once("close", () => process.off("exit", kill));
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_KEPT);
    });
    const ended = new Promise<never>((_, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => {
        const how = signal ?? `exit code ${code}`;
        reject(new RunnerError(`mlx-lm's server ended (${how})\n${this.#stderr.trimEnd()}`));
      });
    });
    // Later the end of the process shows as failed requests.
    ended.catch(() => undefined);
    await withLimit("the first answer of mlx-lm's server", START_LIMIT_MS, (signal) =>
      Promise.race([this.#answering(signal), ended]),
    );
  }

  /** Ends the server and waits for its end; harmless when it is not running. */
  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
    child.kill("SIGINT");
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_LIMIT_MS);
    await closed;
    clearTimeout(timer);
  }

  /** Rejects when the server refuses the request, or ends it before its last token. */
  async stream(request: LoadRequest, { signal, onArrival }: StreamOptions): Promise<StreamRecord> {
    const arrivals: Arrival[] = [];
    let usage: CompletionEvent["usage"];
    let finish: string | null = null;
    const sentMs = performance.now();
    const response = await this.#post(request, signal);
    if (response.statusCode !== 200) {
      throw new RunnerError(`mlx-lm's server answered ${response.statusCode}: ${await textOf(response)}`);
    }
    const parser = new EventStreamParser();
    for await (const piece of response.setEncoding("utf8")) {
      const atMs = performance.now();
      for (const data of parser.push(piece as string)) {
        if (data === "[DONE]") continue;
        const event = JSON.parse(data) as CompletionEvent;
        usage = event.usage ?? usage;
        finish = event.choices[0]?.finish_reason ?? finish;
        if (!event.choices[0]?.text) continue;
        const arrival = { atMs, tokens: null, hasText: true };
        arrivals.push(arrival);
        onArrival?.(arrival);
      }
    }
    const endedMs = performance.now();
    if (finish !== "length" || usage === undefined || arrivals.length === 0) {
      throw new RunnerError(`mlx-lm's server ended an answer early (finish reason ${finish})`);
    }
    const cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
    if (cached > 0) throw new RunnerError(`mlx-lm's server took ${cached} prompt tokens from its cache`);
    return {
      sentMs,
      endedMs,
      arrivals,
      tokens: null,
      promptTokens: usage.prompt_tokens,
      completionTokens: usage.completion_tokens,
      queueMs: null,
    };
  }

  #post({ prompt, maxTokens }: LoadRequest, signal: AbortSignal): Promise<IncomingMessage> {
    if (typeof prompt !== "string")
      throw new TypeError("mlx-lm's server takes prompts of text, not token ids");
    const body = JSON.stringify({
      prompt,
      max_tokens: maxTokens,
      temperature: 0,
      stream: true,
      stream_options: { include_usage: true },
    });
    return new Promise((resolve, reject) => {
      const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
      const options = {
        host: HOST,
        port: this.#port,
        path: "/v1/completions",
        method: "POST",
        headers,
        signal,
      };
      httpRequest(options, resolve).once("error", reject).end(body);
    });
  }

  /** Resolves when the model is loaded: the first request waits for it. */
  async #answering(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.stream({ index: 0, prompt: "Hello", maxTokens: 4 }, { signal });
        return;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ECONNREFUSED") throw error;
        await sleep(POLL_MS);
      }
    }
  }
}

/** A port that nobody listens on at this moment. */
async function freePort(): Promise<number> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, HOST, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = "";
  for await (const piece of response.setEncoding("utf8")) text += piece;
  return text;
}
