#!/usr/bin/env node
// Plays a worker that advances all its streams once a step, at a fixed rate, as soon as so many have been asked for.
// The frames are encoded beforehand: what is measured is the reader.
import { frame, onMessages } from "../fixtures/wire.mjs";

const streams = Number(process.env.EMITTER_STREAMS);
const steps = Number(process.env.EMITTER_STEPS);
const stepsPerSecond = Number(process.env.EMITTER_STEPS_PER_SECOND);
const ids = [];

const stepFrame = (index) =>
  frame({
    method: "stream.chunk",
    params: {
      chunks: ids.map((stream_id) => ({ stream_id, index, text: " token", token_ids: [1000 + index] })),
    },
  });

function endFrames(stream_id, totalMs) {
  const figures = {
    prompt_tokens: 1,
    cached_tokens: 0,
    completion_tokens: steps,
    queue_ms: 0,
    prefill_ms: 0,
    ttft_ms: 0,
    decode_ms: totalMs,
    total_ms: totalMs,
    tokens_per_second: (1000 * steps) / totalMs,
    draft_tokens: 0,
    draft_accepted: 0,
  };
  const event = { stream_id, event: "completed", finish_reason: "length" };
  return [
    frame({ method: "stream.stats", params: { stream_id, ...figures } }),
    frame({ method: "stream.event", params: event }),
  ];
}

/** Writes every step when it is due; what a full pipe held back follows as soon as it can. */
function emit(frames) {
  const start = performance.now();
  let next = 0;
  const tick = () => {
    const due = Math.min(frames.length, Math.floor(((performance.now() - start) / 1000) * stepsPerSecond));
    while (next < due) {
      next += 1;
      if (!process.stdout.write(frames[next - 1])) return process.stdout.once("drain", tick);
    }
    if (next < frames.length) return setTimeout(tick, 1);
    const totalMs = performance.now() - start;
    process.stdout.write(Buffer.concat(ids.flatMap((id) => endFrames(id, totalMs))));
  };
  tick();
}

function onMessage({ id, method, params }) {
  if (method === "shutdown") return process.stdout.write(frame({ id, result: {} }), () => process.exit(0));
  process.stdout.write(frame({ id, result: {} }));
  if (method !== "generate" || ids.push(params.stream_id) < streams) return;
  emit(Array.from({ length: steps }, (_, index) => stepFrame(index)));
}

process.stdout.write(
  frame({ method: "worker/ready", params: { protocol: 1, version: "emitter", pid: process.pid } }),
);
onMessages(onMessage);
process.stdin.on("end", () => process.exit(0));
