import { expect, test } from "vitest";
import { type StreamSink, StreamTable } from "../../src/stream-table.js";
import type { WireChunk, WireEvent } from "../../src/wire.js";

/** A sink that writes down what it gets. */
function sink(streamId: string, seen: string[]): StreamSink {
  return {
    streamId,
    onChunk: (chunk) => seen.push(`${streamId} ${chunk.text}`),
    onStats: () => seen.push(`${streamId} stats`),
    onEvent: (event) => seen.push(`${streamId} ${event.event}`),
    onFailure: (error) => seen.push(`${streamId} ${String(error)}`),
  };
}

const chunk = (stream_id: string): WireChunk => ({ stream_id, index: 0, text: "x", token_ids: [1] });

test("of 10 000 streams only those that a notification names are touched", () => {
  const seen: string[] = [];
  let held = 0;
  const table = new StreamTable({ hold: () => (held += 1), release: () => (held -= 1) });
  const ids = Array.from({ length: 10_000 }, (_, i) => `s${i}`);
  for (const [i, id] of ids.entries()) table.add([sink(id, seen)], i);
  expect(held).toBe(10_000);

  table.onChunks([chunk("s7"), chunk("unknown"), chunk("s9999")]);
  const end: WireEvent = { stream_id: "s7", event: "completed", finish_reason: "stop" };
  table.onEvent(end);
  table.onEvent(end);
  table.onChunks([chunk("s7")]);
  expect(seen).toEqual(["s7 x", "s9999 x", "s7 completed"]);
  expect(held).toBe(9999);

  table.failAll("gone");
  expect(seen).toHaveLength(3 + 9999);
  expect(held).toBe(0);
});
