import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Socket } from "node:net";
import type { Readable, Writable } from "node:stream";
import type { WorkerExit } from "./errors.js";

/** Characters of the worker's stderr that are kept for error messages. */
const STDERR_TAIL_LENGTH = 8 * 1024;

/** How long the pipes of a process that is gone, or was killed, may stay open before they are given up. */
const CLOSE_GRACE_MS = 2000;

export interface WorkerProcessOptions {
  readonly command: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string | undefined;
  /** Next bytes of stdout. */
  readonly onStdout: (chunk: Buffer) => void;
  readonly onStderr?: ((text: string) => void) | undefined;
  /** Called once, after the last byte of stdout; never before the constructor has returned. */
  readonly onClose: (exit: WorkerExit, spawnError: Error | undefined) => void;
}

/**
 * One worker process and its pipes. It keeps Node's event loop alive only while somebody holds it, and none
 * of its events can become an uncaught exception.
 */
export class WorkerProcess {
  readonly #options: WorkerProcessOptions;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable> | undefined;
  #stderrTail = "";
  #holds = 0;
  #closed = false;
  #closeTimer: NodeJS.Timeout | undefined;

  /** Starts the process. A failure to do so is reported by `onClose`, not thrown. */
  constructor(options: WorkerProcessOptions) {
    this.#options = options;
    try {
      this.#child = spawn(options.command, [], {
        cwd: options.cwd,
        env: options.env,
        stdio: ["pipe", "pipe", "pipe"],
        windowsHide: true,
      });
    } catch (error) {
      queueMicrotask(() => this.#finish(null, null, asError(error)));
      return;
    }
    this.#listen(this.#child);
  }

  get stderrTail(): string {
    return this.#stderrTail;
  }

  /** Sends bytes; after the end of the process, or of its input, they are dropped: `onClose` tells. */
  write(bytes: Buffer): void {
    if (this.#child?.stdin.writable) this.#child.stdin.write(bytes);
  }

  /** Closes the worker's stdin, which asks it to stop at once. */
  endInput(): void {
    this.#child?.stdin.end();
  }

  /** Sends a signal; after SIGKILL `onClose` follows within a bounded time whatever the process does. */
  kill(signal: "SIGTERM" | "SIGKILL"): void {
    if (this.#closed) return;
    this.#child?.kill(signal);
    if (signal === "SIGKILL") this.#closeSoon();
  }

  /** Keeps Node's event loop alive until as many calls of {@link release}. */
  hold(): void {
    this.#holds += 1;
    if (this.#holds > 1 || this.#closed) return;
    this.#child?.ref();
    this.#closeTimer?.ref();
  }

  release(): void {
    this.#holds -= 1;
    if (this.#holds > 0) return;
    this.#child?.unref();
    this.#closeTimer?.unref();
  }

  #listen(child: ChildProcessByStdio<Writable, Readable, Readable>): void {
    // The process handle alone keeps the loop alive while it is held; the pipes never do.
    child.unref();
    for (const pipe of [child.stdin, child.stdout, child.stderr]) {
      (pipe as Writable & Readable & Partial<Pick<Socket, "unref">>).unref?.();
    }

    child.stdout.on("data", (chunk: Buffer) => this.#options.onStdout(chunk));
    child.stderr.setEncoding("utf8");
    child.stderr.on("data", (text: string) => {
      this.#stderrTail = (this.#stderrTail + text).slice(-STDERR_TAIL_LENGTH);
      this.#options.onStderr?.(text);
    });
    // A worker that no longer reads cannot be used: end it, and let its exit tell the pending calls.
    child.stdin.on("error", () => this.kill("SIGKILL"));
    child.stdout.on("error", () => this.kill("SIGKILL"));
    child.stderr.on("error", () => {});

    child.on("error", (error) => {
      // Also emitted when a signal cannot be sent; only a process that never ran is over with it.
      if (child.pid === undefined) this.#finish(null, null, error);
    });
    child.stdout.on("end", () => this.#closeSoon());
    child.on("exit", () => this.#closeSoon());
    child.on("close", (exitCode, signal) => this.#finish(exitCode, signal, undefined));
  }

  /**
   * Gives the rest of an end that has begun a limited time: pipes can outlive the process (a child of the
   * worker inherited them), and a process that closed its stdout is of no use.
   */
  #closeSoon(): void {
    const child = this.#child;
    if (child === undefined || this.#closed || this.#closeTimer !== undefined) return;
    this.#closeTimer = setTimeout(() => {
      child.kill("SIGKILL");
      for (const pipe of [child.stdin, child.stdout, child.stderr]) pipe.destroy();
      this.#finish(child.exitCode, child.signalCode, undefined);
    }, CLOSE_GRACE_MS);
    if (this.#holds === 0) this.#closeTimer.unref();
  }

  #finish(exitCode: number | null, signal: string | null, spawnError: Error | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#closeTimer);
    this.#child?.unref();
    this.#options.onClose({ exitCode, signal, stderrTail: this.#stderrTail }, spawnError);
  }
}

function asError(value: unknown): Error {
  return value instanceof Error ? value : new Error(String(value));
}
