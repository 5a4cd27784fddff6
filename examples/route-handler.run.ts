// Calls the route handler as a server would: once to the end, once with a client that leaves.
import { getSharedEngine } from "mlx-worker";
import { POST } from "./route-handler.js";

const localPath = process.argv[2] ?? process.env.MODEL;
if (localPath === undefined) {
  console.error(
    "Which model? tsx route-handler.run.ts PATH, or MODEL=PATH: a .gguf file or a Hugging Face folder",
  );
  process.exit(2);
}
process.env.MODEL = localPath; // where the handler looks

function post(content: string): Promise<Response> {
  const body = JSON.stringify({ messages: [{ role: "user", content }] });
  return POST(new Request("http://localhost/api/chat", { method: "POST", body }));
}

const answer = await post("What is the capital of France?");
console.log(answer.status, await answer.text());

const engine = getSharedEngine({ autoReload: true }); // the handler's
const ended = new Promise<string | undefined>((resolve) => {
  engine.once("generation:ended", ({ result }) => resolve(result?.finishReason));
});
const reader = (await post("Tell me a long story about a lighthouse.")).body?.getReader();
await reader?.read();
await reader?.cancel();
console.log("the client left:", await ended);
await engine.close();
