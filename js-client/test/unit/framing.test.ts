import { encode } from "@msgpack/msgpack";
import { describe, expect, test } from "vitest";
import { FrameTooLargeError, InvalidParamsError, ProtocolError } from "../../src/errors.js";
import { BodyDecoder, FrameEncoder, FrameReader } from "../../src/framing.js";

const LIMIT = 1024;

function frameOf(message: unknown): Buffer {
  const body = encode(message);
  const header = Buffer.alloc(4);
  header.writeUInt32BE(body.length);
  return Buffer.concat([header, body]);
}

/** The messages that a reader makes of these chunks, each chunk in memory of its own. */
function read(chunks: readonly Buffer[], limit = LIMIT): unknown[] {
  const reader = new FrameReader(limit);
  const decoder = new BodyDecoder();
  const messages: unknown[] = [];
  for (const chunk of chunks) reader.push(Buffer.from(chunk), (body) => messages.push(decoder.decode(body)));
  expect(reader.pendingBytes).toBe(0);
  return messages;
}

describe("FrameReader", () => {
  const first = { text: "naïve 🦙 — 日本語", n: 1 };
  const second = { text: "second", n: 2 };
  const stream = Buffer.concat([frameOf(first), frameOf(second)]);

  test("reads two frames split at every position", () => {
    for (let i = 0; i <= stream.length; i += 1) {
      expect(read([stream.subarray(0, i), stream.subarray(i)])).toEqual([first, second]);
    }
  });

  test("reads frames that arrive byte by byte", () => {
    expect(read(Array.from(stream, (byte) => Buffer.from([byte])))).toEqual([first, second]);
  });

  test("reads many frames from one chunk and keeps the rest for the next", () => {
    const messages = Array.from({ length: 100 }, (_, n) => ({ n }));
    const bytes = Buffer.concat(messages.map(frameOf));
    expect(read([bytes.subarray(0, bytes.length - 3), bytes.subarray(bytes.length - 3)])).toEqual(messages);
  });

  test("reads a frame that is much larger than the chunks it comes in", () => {
    const message = { text: "x".repeat(300_000) };
    const bytes = frameOf(message);
    const chunks = Array.from({ length: 10 }, (_, i) =>
      bytes.subarray((i * bytes.length) / 10, ((i + 1) * bytes.length) / 10),
    );
    expect(read(chunks, 1024 * 1024)).toEqual([message]);
  });

  test("never overwrites the binary values of earlier messages", () => {
    const reader = new FrameReader(LIMIT);
    const decoder = new BodyDecoder();
    const values: Uint8Array[] = [];
    const bytes = Buffer.concat(
      Array.from({ length: 200 }, (_, n) => frameOf({ bin: new Uint8Array(16).fill(n) })),
    );
    for (let i = 0; i < bytes.length; i += 7) {
      reader.push(Buffer.from(bytes.subarray(i, i + 7)), (body) => {
        values.push((decoder.decode(body) as { bin: Uint8Array }).bin);
      });
    }
    expect(values).toHaveLength(200);
    for (const [n, value] of values.entries()) expect([...value]).toEqual(Array(16).fill(n));
  });

  test("accepts a body of exactly the limit and refuses one byte more", () => {
    const body = Buffer.alloc(LIMIT, 0x80);
    const header = Buffer.alloc(4);
    header.writeUInt32BE(LIMIT);
    const bodies: Buffer[] = [];
    const reader = new FrameReader(LIMIT);
    reader.push(Buffer.concat([header, body]), (b) => bodies.push(b));
    expect(bodies).toEqual([body]);
    header.writeUInt32BE(LIMIT + 1);
    expect(() => reader.push(Buffer.from(header), () => {})).toThrow(ProtocolError);
  });

  test("refuses a length of 0", () => {
    expect(() => new FrameReader(LIMIT).push(Buffer.alloc(4), () => {})).toThrow(/frame length of 0/);
  });

  test("shows what it found when there is text instead of frames", () => {
    expect(() => new FrameReader(LIMIT).push(Buffer.from("MLX Runtime ready\n"), () => {})).toThrow(
      /not a stream of frames.*"MLX Runtime ready\\n"/,
    );
  });
});

describe("BodyDecoder", () => {
  test.each([
    ["an array", encode([1])],
    ["null", encode(null)],
    ["a number", encode(7)],
    ["bytes", encode(new Uint8Array(2))],
    ["a byte that MessagePack never uses", Buffer.from([0xc1])],
    ["half a map", encode({ a: 1 }).subarray(0, 2)],
    ["a map and something behind it", Buffer.concat([encode({}), encode({})])],
  ])("refuses %s", (_, body) => {
    expect(() => new BodyDecoder().decode(body)).toThrow(ProtocolError);
  });
});

describe("FrameEncoder", () => {
  test("writes length and body, without undefined fields", () => {
    expect(new FrameEncoder(LIMIT).encode({ a: 1, b: undefined })).toEqual(frameOf({ a: 1 }));
  });

  test("keeps earlier frames intact", () => {
    const encoder = new FrameEncoder(LIMIT);
    const frames = [1, 2, 3].map((n) => encoder.encode({ n }));
    expect(read(frames)).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
  });

  test("refuses a body over the limit and goes on", () => {
    const encoder = new FrameEncoder(LIMIT);
    const overhead = encode({ t: "x".repeat(LIMIT - 10) }).length - (LIMIT - 10);
    expect(encoder.encode({ t: "x".repeat(LIMIT - overhead) })).toHaveLength(4 + LIMIT);
    expect(() => encoder.encode({ t: "x".repeat(LIMIT - overhead + 1) })).toThrow(FrameTooLargeError);
    expect(read([encoder.encode({ n: 1 })])).toEqual([{ n: 1 }]);
  });

  test("names the method whose parameters cannot be encoded, and goes on", () => {
    const encoder = new FrameEncoder(LIMIT);
    const cycle: Record<string, unknown> = {};
    cycle.self = cycle;
    for (const params of [cycle, { f: () => {} }]) {
      expect(() => encoder.encode({ method: "tokenize", params })).toThrow(InvalidParamsError);
      expect(() => encoder.encode({ method: "tokenize", params })).toThrow(/^tokenize: /);
    }
    expect(read([encoder.encode({ n: 1 })])).toEqual([{ n: 1 }]);
  });
});
