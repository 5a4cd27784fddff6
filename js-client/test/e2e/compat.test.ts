import { expect, test } from "vitest";
import { createEngine, EngineClientError } from "../../src/compat/index.js";
import { rejection } from "../fake/fake-engine.js";
import { MODEL_FILE, WORKER } from "./paths.js";

test("an application of the replaced system runs on the worker", async () => {
  const engine = await createEngine({ workerPath: WORKER, logLevel: "warn" });
  try {
    const handle = await engine.load_model({ model: "smollm2", local_path: MODEL_FILE });
    expect(handle).toMatchObject({
      state: "ready",
      contextLength: expect.any(Number),
      descriptor: { source: "local" },
    });

    const prompt = "Once upon a time";
    const params = { model: handle.descriptor.id, prompt, max_tokens: 8, temperature: 0 };
    const text = await engine.generate(params);
    let streamed = "";
    let generated = 0;
    for await (const chunk of engine.createGenerator(params)) {
      if (chunk.type === "token") streamed += chunk.token;
      else if (chunk.type === "metadata") generated = chunk.stats.tokensGenerated;
    }
    expect(streamed).toBe(text);
    expect(generated).toBe(8);

    const { tokens, tokenStrings } = await engine.tokenize({ model: "smollm2", text: prompt });
    expect(tokenStrings).toHaveLength(tokens.length);
    expect(await engine.generate({ ...params, prompt: { tokens } })).toBe(text);
    expect(await engine.healthCheck()).toMatchObject({ status: "healthy", stateConsistent: true });

    const missing = await rejection(engine.generate({ ...params, model: "other" }));
    expect(missing).toBeInstanceOf(EngineClientError);
    expect(missing).toMatchObject({ code: "ModelNotLoaded" });
    const draft = await rejection(engine.loadDraftModel({ model: "draft", localPath: MODEL_FILE }));
    expect(draft).toMatchObject({ code: "InvalidParams", details: { kind: "Unsupported" } });
    await engine.unloadModel("smollm2");
    expect(engine.listModels()).toEqual([]);
  } finally {
    await engine.shutdown();
  }
});
