import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";

/** A reply of the runner, without its `ok` field. */
export type Reply = Readonly<Record<string, unknown>>;

/** The runner's process: what to run and where its stderr goes. */
export interface RunnerCommand {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

/** A failed command, or the end of the runner; the message carries the last lines of its stderr. */
export class RunnerError extends Error {
  override readonly name = "RunnerError";
}

const STDERR_KEPT = 2000;
const QUIT_TIMEOUT_MS = 5000;

/**
 * A child process that answers one JSON line with one JSON line, in order. One request at a time.
 */
export class JsonLinesProcess {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #engine: string;
  readonly #lines: AsyncIterator<string>;
  readonly #exited: Promise<void>;
  readonly #began = performance.now();
  #stderr = "";

  /**
   * Starts the process; the first reply, which it sends unasked, is read with {@link ready}.
   *
   * @param engine what the process runs, for messages
   */
  constructor(command: RunnerCommand, engine = "mlx-lm") {
    this.#engine = engine;
    this.#child = spawn(command.file, command.args, { env: command.env, stdio: ["pipe", "pipe", "pipe"] });
    this.#child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_KEPT);
    });
    // A process that is gone shows as the end of its output, with a better message than EPIPE.
    this.#child.stdin.on("error", () => undefined);
    this.#exited = new Promise((resolve) => {
      this.#child.once("close", () => resolve());
      this.#child.once("error", (error) => {
        this.#stderr += error.message;
        resolve();
      });
    });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** The process's id. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Waits for the line that the process sends on its own when it is up. */
  async ready(): Promise<void> {
    await this.#reply("start");
  }

  /**
   * Waits until the process is up and has loaded what `fields` name.
   *
   * @returns its reply to "load", and the milliseconds of its start and of the load
   */
  async load(fields: Reply): Promise<{ reply: Reply; processMs: number; loadMs: number }> {
    await this.ready();
    const ready = performance.now();
    const reply = await this.request("load", fields);
    return { reply, processMs: ready - this.#began, loadMs: performance.now() - ready };
  }

  /** Sends a command and waits for its reply. @throws RunnerError when it fails or the process has ended */
  async request(cmd: string, fields: Reply = {}): Promise<Reply> {
    this.#child.stdin.write(`${JSON.stringify({ cmd, ...fields })}\n`);
    return this.#reply(cmd);
  }

  /** Ends the process, by force if it does not end by itself. */
  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.stdin.end(`${JSON.stringify({ cmd: "quit" })}\n`);
      const timer = setTimeout(() => this.#child.kill("SIGKILL"), QUIT_TIMEOUT_MS);
      await this.#exited;
      clearTimeout(timer);
    }
  }

  async #reply(cmd: string): Promise<Reply> {
    const line = await this.#lines.next();
    if (line.done) {
      await this.#exited;
      const how = this.#child.signalCode ?? `exit code ${this.#child.exitCode}`;
      throw new RunnerError(
        `the ${this.#engine} runner ended during "${cmd}" (${how})\n${this.#stderr.trimEnd()}`,
      );
    }
    const reply = JSON.parse(line.value) as { ok: boolean; error?: string } & Reply;
    if (!reply.ok) throw new RunnerError(`${cmd}: ${reply.error}`);
    return reply;
  }
}

/** Runs a command to its end and returns what it printed on stdout. Its stderr is passed through. */
export async function runToEnd(command: RunnerCommand): Promise<string> {
  const child = spawn(command.file, command.args, { env: command.env, stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  if (code !== 0) {
    throw new RunnerError(
      `${command.file} ${command.args.join(" ")} failed (${signal ?? `exit code ${code}`})`,
    );
  }
  return output;
}
