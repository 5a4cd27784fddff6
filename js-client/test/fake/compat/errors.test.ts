import { expect, test } from "vitest";
import { errorOfChunk } from "../../../src/compat/chunk-stream.js";
import { codeOfKind, toEngineError } from "../../../src/compat/errors.js";
import { EngineClientError, TimeoutError } from "../../../src/compat/index.js";
import { ERROR_CODES, MlxWorkerError, type MlxWorkerErrorKind } from "../../../src/index.js";

test("an error is plain data on request", () => {
  const error = new EngineClientError("ModelLoadError", "no", { model_id: "m" });
  expect(error).toBeInstanceOf(Error);
  expect(error).toMatchObject({ name: "EngineError", code: "ModelLoadError", message: "no" });
  expect(error.toObject()).toEqual({ code: "ModelLoadError", message: "no", details: { model_id: "m" } });
  expect(new EngineClientError("Timeout", "late").toObject()).toEqual({ code: "Timeout", message: "late" });
});

test("a timeout is one of them", () => {
  const error = new TimeoutError("generate", 50, "s");
  expect(error).toBeInstanceOf(EngineClientError);
  expect(error).toMatchObject({
    name: "TimeoutError",
    code: "Timeout",
    method: "generate",
    timeout: 50,
    requestId: "s",
    details: { method: "generate", timeout: 50, requestId: "s" },
  });
});

test.each([
  ...Object.keys(ERROR_CODES),
  ...[
    "WorkerNotFound",
    "WorkerStartFailed",
    "WorkerCrashed",
    "WorkerCrashLoop",
    "ProtocolError",
    "EngineClosed",
  ],
])("kind %s has a code, its own where mlx-serving had it", (kind) => {
  const cause = new MlxWorkerError("why", { kind: kind as MlxWorkerErrorKind, data: { a: 1 } });
  const error = toEngineError(cause);
  expect(error).toMatchObject({ message: "why", details: { a: 1, kind }, cause });
  expect(error.code).not.toBe("UnknownError");
  const own = [
    "ParseError",
    "InvalidParams",
    "ModelLoadError",
    "GenerationError",
    "ModelNotLoaded",
    "Cancelled",
  ];
  if (own.includes(kind)) expect(error.code).toBe(kind);
});

test("other errors are cancelled, late or unknown", () => {
  const known = new EngineClientError("ServerError", "x");
  expect(toEngineError(known)).toBe(known);
  expect(toEngineError(new DOMException("", "AbortError"))).toMatchObject({
    code: "Cancelled",
    message: "Operation aborted by caller",
  });
  expect(toEngineError(new DOMException("late", "TimeoutError")).code).toBe("Timeout");
  expect(toEngineError("mine", AbortSignal.abort("mine"))).toMatchObject({
    code: "Cancelled",
    message: "mine",
  });
  expect(toEngineError(new Error("odd"))).toMatchObject({ code: "UnknownError", message: "odd" });
  expect(codeOfKind("of a later version")).toBe("UnknownError");
});

test("an error chunk has the code of its error", () => {
  expect(errorOfChunk({ code: "TransportError", message: "gone" }).code).toBe("TransportError");
  expect(errorOfChunk({ message: "odd" }).code).toBe("UnknownError");
});
