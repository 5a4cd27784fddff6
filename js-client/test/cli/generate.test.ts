import { writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { run, start, temporaryFolder } from "./harness.js";

describe("generate", () => {
  test("streams the answer to a message", async () => {
    const { code, stdout, requests } = await run(["generate", "m", "hello", "--system", "Be brief."]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "echo hello\n" });
    expect(requests("generate")[0]).toMatchObject({
      messages: [
        { role: "system", content: "Be brief." },
        { role: "user", content: "hello" },
      ],
    });
  });

  test.each([
    [["--raw"], {}],
    [[], { FAKE_NO_TEMPLATE: "1" }],
  ])("uses the prompt as it is: %j %j", async (args, env) => {
    const { requests } = await run(["generate", "m", "hello", ...args], { env });
    expect(requests("generate")[0]).toMatchObject({ prompt: "hello" });
    expect((await run(["generate", "m", "hello", "--system", "s", ...args], { env })).code).toBe(2);
  });

  test.each([[["-"]], [[]]])("reads the prompt from stdin: %j", async (args) => {
    const { stdout } = await run(["generate", "m", ...args], { input: "two\nlines\n" });
    expect(stdout).toBe("echo two\nlines\n");
    expect(await run(["generate", "m", ...args], { input: "\n" })).toMatchObject({ code: 2, stdout: "" });
  });

  test("asks for a prompt where stdin is a terminal", async () => {
    const { code, stderr } = await run(["generate", "m"], { terminal: true });
    expect(code).toBe(2);
    expect(stderr).toContain("PROMPT is missing");
  });

  test("--json prints text, tokens, usage and timings", async () => {
    const { code, stdout } = await run(["generate", "m", "hello", "--json"]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      text: "echo hello",
      tokens: [100, 101],
      finishReason: "stop",
      usage: { promptTokens: 3, completionTokens: 2 },
      timings: { ttftMs: 250, tokensPerSecond: 40 },
    });
    expect(JSON.parse(stdout)).not.toHaveProperty("streamId");
  });

  test("passes every sampling parameter on", async () => {
    const schema = join(temporaryFolder(), "schema.json");
    writeFileSync(schema, '{"type":"object"}');
    const args =
      "--max-tokens 5 --temperature 0.5 --top-p 0.9 --top-k 40 --min-p 0.1 --xtc-probability 0.2 --xtc-threshold 0.3 --repetition-penalty 1.1 --repetition-context-size 64 --presence-penalty -1 --frequency-penalty -0.5 --logit-bias 7=-100 --logit-bias 8=2.5 --seed 42 --stop A --stop B --stop-token-id 2 --ignore-eos --logprobs --top-logprobs 3 --guidance json_schema --draft-model d --num-draft-tokens 4 --no-cache-prompt --no-stream --json --timeout-ms 9000";
    const { code, requests } = await run([
      "generate",
      "m",
      "hello",
      ...args.split(" "),
      "--guidance-schema",
      `@${schema}`,
    ]);
    expect(code).toBe(0);
    expect(requests("generate")[0]).toMatchObject({
      max_tokens: 5,
      temperature: 0.5,
      top_p: 0.9,
      top_k: 40,
      min_p: 0.1,
      xtc_probability: 0.2,
      xtc_threshold: 0.3,
      repetition_penalty: 1.1,
      repetition_context_size: 64,
      presence_penalty: -1,
      frequency_penalty: -0.5,
      logit_bias: { 7: -100, 8: 2.5 },
      seed: 42,
      stop_sequences: ["A", "B"],
      stop_token_ids: [2],
      ignore_eos: true,
      logprobs: true,
      top_logprobs: 3,
      guidance: { mode: "json_schema", schema: '{"type":"object"}' },
      draft_model: "d",
      num_draft_tokens: 4,
      cache_prompt: false,
      stream: false,
      timeout_ms: 9000,
    });
  });

  test("loads a path as a path and anything else as an id", async () => {
    const path = join(temporaryFolder(), "m.gguf");
    writeFileSync(path, "");
    const byPath = await run(["generate", path, "hello", "--context-length", "512", "--dtype", "float16"]);
    expect(byPath.requests("load_model")[0]).toEqual({
      model_id: "model",
      local_path: path,
      context_length: 512,
      dtype: "float16",
    });
    const byId = await run(["generate", "org/name", "hello", "--revision", "v1"]);
    expect(byId.requests("load_model")[0]).toEqual({ model_id: "org/name", revision: "v1" });
  });

  test("the folder of models is the same by option and by variable", async () => {
    const expected = { modelsDir: join(homedir(), "m") };
    const byOption = await run(["generate", "m", "hello", "--models-dir=~/m"]);
    expect(byOption.requests("start")).toEqual([expected]);
    const byVariable = await run(["generate", "m", "hello"], { env: { MLX_MODELS_DIR: "~/m" } });
    expect(byVariable.requests("start")).toEqual([expected]);
    const listed = await run(["models", "--json", "--models-dir=~/m"]);
    expect(JSON.parse(listed.stdout)).toMatchObject(expected);
  });

  test("Ctrl-C cancels, keeps what there is, and is told by the exit code", async () => {
    const running = start(["generate", "m", "hang"]);
    await running.seen("partial");
    running.interrupt();
    expect(await running.done).toBe(130);
    expect(running.stdout()).toBe("partial\n");
    expect(running.requests("cancel")).toHaveLength(1);
  });

  test("--stats prints figures on stderr", async () => {
    const { stdout, stderr } = await run(["generate", "m", "hello", "--stats"]);
    expect(stdout).toBe("echo hello\n");
    expect(stderr).toBe(
      "3 prompt tokens (1 cached), 2 generated, TTFT 250 ms, 40.0 tok/s, total 1.5 s, finish reason stop\n",
    );
  });
});
