// Decides when an answer ends, makes sampling repeatable, and looks at the model's alternatives.
import { createEngine } from "mlx-worker";

const localPath = process.argv[2] ?? process.env.MODEL;
if (localPath === undefined) {
  console.error(
    "Which model? node stop-and-logprobs.mjs PATH, or MODEL=PATH: a .gguf file or a Hugging Face folder",
  );
  process.exit(2);
}

const engine = createEngine();
const model = await engine.loadModel({ model: "my-model", localPath });

// A stop sequence ends the answer and is no part of it, also where it spans tokens.
const counted = await engine.generate({
  model,
  prompt: "One, two, three, four, five, six,",
  stopSequences: ["nine"],
  maxTokens: 32,
  temperature: 0,
});
console.log(`${JSON.stringify(counted.text)} ended by ${counted.finishReason}: ${counted.stopSequence}`);

// The same seed gives the same tokens, alone or beside other requests.
const story = { model, prompt: "Once upon a time", maxTokens: 12, temperature: 0.9, topP: 0.95, seed: 7 };
const [first, second] = await Promise.all([engine.generate(story), engine.generate(story)]);
console.log(`${JSON.stringify(first.text)} twice: ${first.text === second.text}`);

// Log-probabilities: of the token that was taken, and of the likeliest ones.
const capital = { model, prompt: "The capital of France is", maxTokens: 1, temperature: 0 };
const { logprobs = [] } = await engine.generate({ ...capital, logprobs: true, topLogprobs: 3 });
for (const { top = [] } of logprobs) {
  for (const { text, logprob } of top) {
    console.log(`${JSON.stringify(text)}: ${(100 * Math.exp(logprob)).toFixed(1)} %`);
  }
}
await engine.close();
