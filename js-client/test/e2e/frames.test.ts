import { encode } from "@msgpack/msgpack";
import { describe, expect, test } from "vitest";
import { header, RawWorker } from "./raw-worker.js";

const LIMIT = 65_536;

/** A worker that has said worker/ready. */
async function readyWorker(): Promise<RawWorker> {
  const worker = new RawWorker({ MLX_MAX_FRAME_BYTES: String(LIMIT) });
  expect(await worker.next()).toMatchObject({
    jsonrpc: "2.0",
    method: "worker/ready",
    params: { protocol: 1, pid: expect.any(Number), capabilities: expect.any(Array) },
  });
  return worker;
}

/** The worker answers this id next, so it has read what came before. */
async function expectPong(worker: RawWorker, id: number): Promise<void> {
  worker.request(id, "ping");
  expect(await worker.next()).toEqual({ jsonrpc: "2.0", id, result: {} });
}

describe("frames", () => {
  test.each([
    ["an empty frame", header(0)],
    ["bytes that are no MessagePack", Buffer.concat([header(3), Buffer.from([0xc1, 0xc1, 0xc1])])],
    ["half a map", Buffer.concat([header(1), Buffer.from([0x81])])],
    ["a map and more", Buffer.concat([header(2), Buffer.from([0x80, 0x80])])],
    ["a number", Buffer.concat([header(1), Buffer.from([7])])],
  ])("%s is a parse error, and the next frame is read", async (_, bytes) => {
    await using worker = await readyWorker();
    worker.write(bytes);
    expect(await worker.next()).toMatchObject({
      id: null,
      error: { code: -32700, data: { kind: "ParseError" } },
    });
    await expectPong(worker, 1);
  });

  test("a batch is an invalid request", async () => {
    await using worker = await readyWorker();
    worker.send([{ jsonrpc: "2.0", id: 1, method: "ping" }]);
    expect(await worker.next()).toMatchObject({
      id: null,
      error: { code: -32600, data: { kind: "InvalidRequest" } },
    });
    await expectPong(worker, 2);
  });

  test("a frame over the limit is skipped and reported", async () => {
    await using worker = await readyWorker();
    worker.write(header(LIMIT + 1));
    worker.write(Buffer.alloc(LIMIT + 1, 0xff));
    expect(await worker.next()).toMatchObject({
      id: null,
      error: { code: -32600, data: { kind: "FrameTooLarge", limit: LIMIT } },
    });
    await expectPong(worker, 1);
  });

  test("a request that arrives byte by byte is read", async () => {
    await using worker = await readyWorker();
    const body = encode({ jsonrpc: "2.0", id: 5, method: "ping" });
    for (const byte of Buffer.concat([header(body.length), body])) worker.write(Buffer.from([byte]));
    expect(await worker.next()).toEqual({ jsonrpc: "2.0", id: 5, result: {} });
  });
});

describe("requests", () => {
  test("an unknown method and unknown, missing or ill-typed parameters are named", async () => {
    await using worker = await readyWorker();
    const failure = async (id: number, method: string, params: Record<string, unknown>) => {
      worker.request(id, method, params);
      const answer = await worker.next();
      expect(answer.id).toBe(id);
      return answer.error;
    };
    expect(await failure(1, "frobnicate", {})).toMatchObject({
      code: -32601,
      message: expect.stringContaining("frobnicate"),
      data: { kind: "MethodNotFound" },
    });
    expect(await failure(2, "generate", { model_id: "m", prompt: "p", temprature: 1 })).toMatchObject({
      code: -32602,
      data: { kind: "InvalidParams", param: "temprature" },
    });
    expect(await failure(3, "tokenize", { model_id: "m" })).toMatchObject({
      code: -32602,
      data: { param: "text" },
    });
    expect(await failure(4, "tokenize", { model_id: "m", text: 5 })).toMatchObject({
      code: -32602,
      data: { param: "text" },
    });
    expect(await failure(5, "embed", { model_id: "m", input: ["a"] })).toMatchObject({
      code: -32010,
      data: { kind: "Unsupported", what: "embed" },
    });
    await expectPong(worker, 6);
  });

  test("the end of the input ends the process with exit code 0", async () => {
    const worker = await readyWorker();
    expect(await worker.end()).toBe(0);
  });

  test("an input that ends inside a frame ends the process with exit code 0", async () => {
    const worker = await readyWorker();
    worker.write(header(100));
    expect(await worker.end()).toBe(0);
  });
});
