import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished } from "vitest";
import type { Io } from "../../src/cli/io.js";
import { main } from "../../src/cli/main.js";

/** The stand-in for the worker: see its own comments. */
export const FAKE_WORKER: string = fileURLToPath(new URL("./fixtures/cli-worker.mjs", import.meta.url));

/** A folder that is removed when the test ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "mlx-worker-cli-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** How a command line is run. */
export interface RunOptions {
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** What comes from stdin; undefined: it stays open. */
  readonly input?: string;
  /** Stdin and stdout are a terminal. */
  readonly terminal?: boolean;
}

/** A command line that runs in this process. */
export interface Running {
  /** Resolves to the exit code. */
  readonly done: Promise<number>;
  readonly stdin: PassThrough;
  stdout(): string;
  stderr(): string;
  /** As Ctrl-C where no terminal reads it. */
  interrupt(): void;
  /** Waits until text was written to stdout or stderr. */
  seen(text: string | RegExp): Promise<void>;
  /** Requests that the fake worker got. */
  requests(method: string): Record<string, unknown>[];
}

/** Starts a command line with the fake worker, an empty cache and its own streams. */
export function start(args: readonly string[], options: RunOptions = {}): Running {
  const home = temporaryFolder();
  const log = join(home, "requests.jsonl");
  const stream = (isTTY: boolean): PassThrough => Object.assign(new PassThrough(), { isTTY, columns: 100 });
  const [stdin, stdout, stderr] = [
    stream(options.terminal === true),
    stream(options.terminal === true),
    stream(false),
  ];
  let [out, err] = ["", ""];
  stdout.on("data", (data) => {
    out += data;
  });
  stderr.on("data", (data) => {
    err += data;
  });
  const listeners = new Set<() => void>();
  const io: Io = {
    stdin,
    stdout,
    stderr,
    env: {
      PATH: process.env.PATH,
      HOME: home,
      NO_COLOR: "1",
      MLX_WORKER_PATH: FAKE_WORKER,
      FAKE_LOG: log,
      ...options.env,
    },
    onInterrupt(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  if (options.input !== undefined) stdin.end(options.input);
  const done = main(args, io);
  onTestFinished(async () => {
    stdin.end();
    await done;
    expect(listeners.size, "interrupt listeners that are left").toBe(0);
  });
  return {
    done,
    stdin,
    stdout: () => out,
    stderr: () => err,
    interrupt: () => {
      for (const listener of [...listeners]) listener();
    },
    seen: (text) => expect.poll(() => out + err, { timeout: 20_000, interval: 5 }).toMatch(text),
    requests: (method) => {
      const lines = existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : [];
      const all = lines.map(
        (text) => JSON.parse(text) as { method: string; params: Record<string, unknown> },
      );
      return all.filter((request) => request.method === method).map(({ params }) => params);
    },
  };
}

/** Runs a command line to its end. */
export async function run(
  args: readonly string[],
  options: RunOptions = {},
): Promise<{ code: number; stdout: string; stderr: string; requests: Running["requests"] }> {
  const running = start(args, { input: "", ...options });
  const code = await running.done;
  // What was written last has not been read yet.
  await new Promise((resolve) => setImmediate(resolve));
  return { code, stdout: running.stdout(), stderr: running.stderr(), requests: running.requests };
}
