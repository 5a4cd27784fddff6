// A conversation on the terminal: one line, one message. Ctrl-C stops an answer, Ctrl-D ends.
import { createInterface } from "node:readline/promises";
import { ChatSession, createEngine } from "mlx-worker";

const localPath = process.argv[2] ?? process.env.MODEL;
if (localPath === undefined) {
  console.error("Which model? node chat.mjs PATH, or MODEL=PATH: a .gguf file or a Hugging Face folder");
  process.exit(2);
}

const engine = createEngine();
const model = await engine.loadModel({ model: "my-model", localPath });
const chat = new ChatSession(engine, {
  model,
  system: "You are a helpful assistant.",
  maxTokens: 200,
  temperature: 0,
});

const lines = createInterface({ input: process.stdin, output: process.stdout, prompt: "> " });
lines.on("SIGINT", () => (chat.busy ? chat.stop() : lines.close()));
let open = true;
lines.once("close", () => (open = false));
lines.prompt();
for await (const line of lines) {
  if (line.trim() !== "") {
    for await (const chunk of chat.send(line)) process.stdout.write(chunk.text);
    process.stdout.write("\n");
  }
  if (open) lines.prompt();
}
console.log(`\n${chat.messages.length} messages`);
await engine.close();
