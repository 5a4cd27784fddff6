// A route handler for web-standard servers, such as app/api/chat/route.ts of Next.js. In next.config:
// serverExternalPackages: ["mlx-worker"].
import { type ChatMessage, getSharedEngine, InvalidParamsError } from "mlx-worker";

export const runtime = "nodejs"; // it starts a process, so it cannot be "edge"

export async function POST(request: Request): Promise<Response> {
  // One engine for all requests, also across the reloads of a development server.
  const engine = getSharedEngine({ autoReload: true });
  const { messages } = (await request.json()) as { messages: ChatMessage[] };
  try {
    // A load of a loaded model returns at once.
    const model = await engine.loadModel({ model: "my-model", localPath: process.env.MODEL });
    const answer = engine.generate(
      { model, messages, maxTokens: 256, temperature: 0 },
      { signal: request.signal },
    );
    // A reader that cancels the stream stops the answer.
    return new Response(answer.toReadableStream({ format: "bytes" }), {
      headers: { "content-type": "text/plain; charset=utf-8" },
    });
  } catch (error) {
    const status = error instanceof InvalidParamsError ? 400 : 500;
    return new Response(error instanceof Error ? error.message : String(error), { status });
  }
}
