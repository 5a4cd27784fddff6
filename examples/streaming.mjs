// Streams a long answer to stdout. Ctrl-C stops the answer, not the program.
import { createEngine } from "mlx-worker";

const localPath = process.argv[2] ?? process.env.MODEL;
if (localPath === undefined) {
  console.error("Which model? node streaming.mjs PATH, or MODEL=PATH: a .gguf file or a Hugging Face folder");
  process.exit(2);
}

const engine = createEngine();
const model = await engine.loadModel({ model: "my-model", localPath });

const stop = new AbortController();
process.once("SIGINT", () => stop.abort());

const messages = [{ role: "user", content: "Tell me a long story about a lighthouse." }];
const answer = engine.generate({ model, messages, maxTokens: 400 }, { signal: stop.signal });
let characters = 0;
try {
  for await (const chunk of answer) {
    process.stdout.write(chunk.text);
    characters += chunk.text.length;
  }
  const { usage } = await answer;
  console.log(`\ncomplete: ${usage.completionTokens} tokens`);
} catch (error) {
  if (!stop.signal.aborted) throw error;
  // An aborted call rejects with the signal's reason. The worker has stopped computing.
  console.log(`\nstopped after ${characters} characters`);
}
await engine.close();
