// Many answers from one engine at the same time: the worker computes them together.

import { setTimeout as sleep } from "node:timers/promises";
import { createEngine, QueueFullError } from "mlx-worker";

const localPath = process.argv[2] ?? process.env.MODEL;
if (localPath === undefined) {
  console.error(
    "Which model? node concurrency.mjs PATH, or MODEL=PATH: a .gguf file or a Hugging Face folder",
  );
  process.exit(2);
}

const engine = createEngine({ env: { MLX_MAX_QUEUE: "4" } }); // so few, to show a refusal
const model = await engine.loadModel({ model: "my-model", localPath });

let refused = 0;

/**
 * Asks again when the queue is full, after the time that the worker proposes.
 * @param {string} city
 */
async function ask(city) {
  const messages = [{ role: "user", content: `Which country is ${city} in?` }];
  for (;;) {
    try {
      return await engine.generate({ model, messages, maxTokens: 12, temperature: 0 });
    } catch (error) {
      if (!(error instanceof QueueFullError)) throw error;
      refused += 1;
      await sleep(error.retryAfterMs ?? 100);
    }
  }
}

const cities = ["Paris", "Rome", "Berlin", "Madrid", "Tokyo", "Cairo", "Oslo", "Lima"];
const asked = [...cities, ...cities, ...cities];
const answers = await Promise.all(asked.map(ask));
for (const [i, city] of cities.entries()) console.log(`${city}: ${answers[i]?.text.trim()}`);

const { batch, requests } = await engine.stats();
const largest = Math.max(...Object.keys(batch.sizes).map(Number));
console.log(`${requests.completed} answers, ${refused} refusals, at most ${largest} requests in one step`);
await engine.close();
