// Loads a model, streams one answer and prints its figures.
import { createEngine } from "mlx-worker";

const localPath = process.argv[2] ?? process.env.MODEL;
if (localPath === undefined) {
  console.error(
    "Which model? node quick-start.mjs PATH, or MODEL=PATH: a .gguf file or a Hugging Face folder",
  );
  process.exit(2);
}

const engine = createEngine(); // starts the worker at the first call
const model = await engine.loadModel({ model: "my-model", localPath });

const messages = [{ role: "user", content: "What is the capital of France?" }];
const answer = engine.generate({ model, messages, maxTokens: 64, temperature: 0 });
for await (const chunk of answer) process.stdout.write(chunk.text);

const { usage, timings, finishReason } = await answer; // the same object is a promise of the whole result
console.log(
  `\n${usage.completionTokens} tokens, ${timings.tokensPerSecond.toFixed(1)} tokens/s, ended by ${finishReason}`,
);
await engine.close();
