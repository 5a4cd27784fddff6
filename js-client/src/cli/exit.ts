import { MlxWorkerError } from "../index.js";
import { Interrupted } from "./io.js";

/** Exit codes of every command. */
export const EXIT = {
  ok: 0,
  /** What was asked for could not be done, or a check found something broken. */
  failed: 1,
  /** The command line is wrong. */
  usage: 2,
  /** Ctrl-C, as shells report it. */
  interrupted: 130,
} as const;

/** What every help says about them. */
export const EXIT_CODES_HELP = "Exit codes: 0 done; 1 failed; 2 wrong arguments; 130 interrupted.";

/** The command line is wrong; the message says what is accepted. */
export class UsageError extends Error {
  override readonly name: string = "UsageError";
}

/** Something that a command cannot do, with a `kind` for programs that read its JSON. */
export class CommandError extends Error {
  override readonly name: string = "CommandError";
  readonly kind: string;
  readonly data: Readonly<Record<string, unknown>>;

  constructor(
    kind: string,
    message: string,
    options: { readonly data?: Readonly<Record<string, unknown>>; readonly cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = kind;
    this.data = options.data ?? {};
  }
}

/** The exit code that an error ends a command with. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT.usage;
  return error instanceof Interrupted ? EXIT.interrupted : EXIT.failed;
}

/** An error in the form that `--json` prints. */
export interface ErrorReport {
  readonly kind: string;
  readonly message: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

/** What a program gets to know about an error. */
export function errorReport(error: unknown): ErrorReport {
  if (error instanceof MlxWorkerError || error instanceof CommandError) {
    return { kind: error.kind, message: error.message, data: error.data };
  }
  const name = error instanceof Error ? error.name : "Error";
  return { kind: name === "UsageError" ? "Usage" : name, message: messageOf(error) };
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of a system error such as "ENOSPC", looked for along its causes. */
export function systemCode(error: unknown): string | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if ("code" in cause && typeof cause.code === "string") return cause.code;
  }
  return undefined;
}
