/** A stream that people or programs read. */
export interface OutputStream extends NodeJS.WritableStream {
  readonly isTTY?: boolean | undefined;
  /** Width of the terminal, in characters. */
  readonly columns?: number | undefined;
}

/** What a command has of the process that it runs in; tests put their own in its place. */
export interface Io {
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean | undefined };
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Calls `listener` for every Ctrl-C until the returned function is called; without one, Ctrl-C ends the process. */
  onInterrupt(listener: () => void): () => void;
}

/** The {@link Io} of this process. */
export function processIo(): Io {
  return {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    onInterrupt(listener) {
      process.on("SIGINT", listener);
      return () => process.off("SIGINT", listener);
    },
  };
}

/** A signal that the first Ctrl-C fires, and what ends the listening. */
export function interruptSignal(io: Io): { readonly signal: AbortSignal; stop(): void } {
  const controller = new AbortController();
  const stop = io.onInterrupt(() => controller.abort(new Interrupted()));
  return { signal: controller.signal, stop };
}

/** The user pressed Ctrl-C. */
export class Interrupted extends Error {
  override readonly name: string = "Interrupted";

  constructor() {
    super("interrupted");
  }
}

/** Writes text as a line. */
export function line(stream: OutputStream, text = ""): void {
  stream.write(`${text}\n`);
}

/** Writes a value as indented JSON. */
export function json(io: Io, value: unknown): void {
  line(io.stdout, JSON.stringify(value, null, 2));
}

/** Whether colours and cursor movements are welcome: on a terminal that can, without `NO_COLOR`. */
export function isFancy(stream: OutputStream, env: Io["env"]): boolean {
  return stream.isTTY === true && (env.NO_COLOR ?? "") === "" && env.TERM !== "dumb";
}

/** Text that a fancy stream shows dimmed. */
export function dim(stream: OutputStream, env: Io["env"], text: string): string {
  return isFancy(stream, env) ? `\u001b[2m${text}\u001b[22m` : text;
}
