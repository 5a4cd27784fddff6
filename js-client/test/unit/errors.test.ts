import { describe, expect, test } from "vitest";
import * as errors from "../../src/errors.js";
import { ERROR_CODES } from "../../src/generated/protocol.js";
import { errorFromWire } from "../../src/wire-errors.js";

describe("errorFromWire", () => {
  test.each([
    ["ModelLoadError", errors.ModelLoadError],
    ["GenerationError", errors.GenerationError],
    ["TokenizerError", errors.TokenizerError],
    ["GuidanceError", errors.GuidanceError],
    ["ModelNotLoaded", errors.ModelNotLoadedError],
    ["QueueFull", errors.QueueFullError],
    ["Cancelled", errors.CancelledError],
    ["ShuttingDown", errors.CancelledError],
    ["ContextLengthExceeded", errors.ContextLengthExceededError],
    ["InsufficientMemory", errors.InsufficientMemoryError],
    ["Unsupported", errors.UnsupportedError],
    ["Busy", errors.BusyError],
    ["InvalidParams", errors.InvalidParamsError],
    ["FrameTooLarge", errors.FrameTooLargeError],
    ["InternalError", errors.MlxWorkerError],
    ["RuntimeError", errors.MlxWorkerError],
  ] as const)("%s becomes its class", (kind, Class) => {
    const error = errorFromWire({ code: ERROR_CODES[kind], message: "why", data: { kind, detail: 1 } });
    expect(error).toBeInstanceOf(Class);
    expect(error).toBeInstanceOf(errors.MlxWorkerError);
    expect(error).toMatchObject({ name: Class.name, message: "why", kind, code: ERROR_CODES[kind] });
    expect(error.data).toEqual({ kind, detail: 1 });
  });

  test("an error without a known kind becomes its code's kind", () => {
    expect(errorFromWire({ code: -32005, message: "" }).kind).toBe("ModelNotLoaded");
    expect(errorFromWire({ code: -32005, message: "", data: { kind: "toString" } }).kind).toBe(
      "ModelNotLoaded",
    );
    expect(errorFromWire({ code: -1, message: "", data: { kind: "New" } })).toMatchObject({
      kind: "RuntimeError",
      code: -1,
    });
  });

  test("details have typed accessors, absent when they were not sent", () => {
    const full = errorFromWire({
      code: -32006,
      message: "",
      data: { kind: "QueueFull", limit: 8, queued: 9, retry_after_ms: 50 },
    });
    expect(full).toMatchObject({ limit: 8, queued: 9, retryAfterMs: 50 });
    const long = errorFromWire({
      code: -32008,
      message: "",
      data: { kind: "ContextLengthExceeded", limit: 10, prompt_tokens: 11 },
    });
    expect(long).toMatchObject({ limit: 10, promptTokens: 11 });
    const memory = errorFromWire({
      code: -32009,
      message: "",
      data: { kind: "InsufficientMemory", required_bytes: 2, available_bytes: 1 },
    });
    expect(memory).toMatchObject({ requiredBytes: 2, availableBytes: 1 });
    expect(
      errorFromWire({ code: -32010, message: "", data: { kind: "Unsupported", what: "embed" } }),
    ).toMatchObject({ what: "embed" });
    expect(
      errorFromWire({ code: -32602, message: "", data: { kind: "InvalidParams", param: "top_p" } }),
    ).toMatchObject({ param: "top_p" });
    expect(errorFromWire({ code: -32006, message: "" })).toMatchObject({
      limit: undefined,
      retryAfterMs: undefined,
    });
  });
});

describe("process errors", () => {
  test("a crash says how the process ended and what it said last", () => {
    const error = new errors.WorkerCrashedError({ exitCode: null, signal: "SIGSEGV", stderrTail: "oh no\n" });
    expect(error.message).toBe(
      "mlx-worker ended unexpectedly (ended by SIGSEGV); its last output on stderr:\noh no",
    );
    expect(error).toMatchObject({
      kind: "WorkerCrashed",
      code: undefined,
      exitCode: null,
      signal: "SIGSEGV",
    });
  });

  test("a failed start has its cause", () => {
    const cause = new Error("ENOEXEC");
    const error = new errors.WorkerStartError(
      "ENOEXEC",
      { exitCode: null, signal: null, stderrTail: "" },
      cause,
    );
    expect(error.message).toBe("mlx-worker did not start: ENOEXEC");
    expect(error.cause).toBe(cause);
  });

  test("every class's name is its own", () => {
    const exit = { exitCode: 0, signal: null, stderrTail: "" };
    const special: Readonly<Record<string, readonly unknown[]>> = {
      WorkerCrashedError: [exit],
      WorkerCrashLoopError: [3, 60_000, 1000, new Error("why")],
    };
    for (const [name, Class] of Object.entries(errors)) {
      const instance = Reflect.construct(Class, special[name] ?? ["why", exit]) as Error;
      expect(instance.name).toBe(name);
    }
  });
});
