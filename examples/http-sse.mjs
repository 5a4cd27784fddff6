// An HTTP server that streams answers as server-sent events. A client that goes away stops its answer.
//
//   curl -N http://127.0.0.1:8080/chat -d '{"messages":[{"role":"user","content":"Hi"}]}'
import { createServer } from "node:http";
import { json } from "node:stream/consumers";
import { createEngine, InvalidParamsError, QueueFullError } from "mlx-worker";

const localPath = process.argv[2] ?? process.env.MODEL;
if (localPath === undefined) {
  console.error("Which model? node http-sse.mjs PATH, or MODEL=PATH: a .gguf file or a Hugging Face folder");
  process.exit(2);
}

const engine = createEngine({ autoReload: true }); // a server wants its model back when a worker died
const model = await engine.loadModel({ model: "my-model", localPath });

/** @type {import("node:http").RequestListener} */
async function chat(request, response) {
  const { messages, maxTokens = 256 } = /** @type {any} */ (await json(request));
  const left = new AbortController();
  response.once("close", () => left.abort()); // also after the answer, where it does nothing
  const answer = engine.generate({ model, messages, maxTokens }, { signal: left.signal });

  for await (const { text } of answer) {
    // The headers wait for the first chunk, so that a refused request gets a status of its own.
    if (!response.headersSent) response.writeHead(200, { "content-type": "text/event-stream" });
    if (text !== "") response.write(`data: ${JSON.stringify({ text })}\n\n`);
  }
  const { usage, finishReason } = await answer;
  response.end(`event: end\ndata: ${JSON.stringify({ usage, finishReason })}\n\n`);
}

/** @param {unknown} error */
function statusOf(error) {
  if (error instanceof SyntaxError || error instanceof InvalidParamsError) return 400;
  return error instanceof QueueFullError ? 503 : 500;
}

const server = createServer((request, response) => {
  if (request.method === "GET" && request.url === "/health") {
    engine.healthCheck().then((health) => response.end(JSON.stringify(health)));
    return;
  }
  if (request.method !== "POST" || request.url !== "/chat") {
    response.writeHead(404).end();
    return;
  }
  Promise.resolve(chat(request, response)).catch((error) => {
    if (response.destroyed) console.log("a client left, its answer was stopped");
    else if (response.headersSent) response.end(`event: error\ndata: ${JSON.stringify(error.message)}\n\n`);
    else response.writeHead(statusOf(error)).end(error.message);
  });
});
server.listen(Number(process.env.PORT ?? 8080), "127.0.0.1", () => {
  const address = /** @type {import("node:net").AddressInfo} */ (server.address());
  console.log(`http://127.0.0.1:${address.port}`);
});

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, async () => {
    server.close(); // no new requests
    await engine.close({ drainMs: 10_000 }); // running answers may finish
    console.log("closed");
  });
}
