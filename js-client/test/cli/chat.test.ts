import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { run, start, temporaryFolder } from "./harness.js";

const CTRL_C = "\u0003";
const CTRL_D = "\u0004";

describe("chat with a pipe", () => {
  test("answers every line with the conversation so far, and prints nothing else", async () => {
    const { code, stdout, stderr, requests } = await run(["chat", "m", "--system", "Be kind."], {
      input: "one\n\ntwo",
    });
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "echo one\necho two\n", stderr: "" });
    expect(requests("generate")[1]?.messages).toEqual([
      { role: "system", content: "Be kind." },
      { role: "user", content: "one" },
      { role: "assistant", content: "echo one" },
      { role: "user", content: "two" },
    ]);
  });

  test("takes several lines as one message", async () => {
    const input = 'a\\\nb\n"""\nc\n/help\n"""\n"""\nunclosed';
    const { requests } = await run(["chat", "m"], { input });
    const texts = requests("generate").map(
      ({ messages }) => (messages as { content: string }[]).at(-1)?.content,
    );
    expect(texts).toEqual(["a\nb", "c\n/help", "unclosed"]);
  });

  test("passes sampling parameters on", async () => {
    const { requests } = await run(["chat", "m", "--temperature", "0", "--max-tokens", "9"], { input: "hi" });
    expect(requests("generate")[0]).toMatchObject({ temperature: 0, max_tokens: 9 });
  });

  test("ends with the first message that fails", async () => {
    const { code, stdout, stderr } = await run(["chat", "m"], { input: "one\nlong\ntwo\n" });
    expect({ code, stdout }).toEqual({ code: 1, stdout: "echo one\n" });
    expect(stderr).toContain("the prompt does not fit");
  });

  test("Ctrl-C stops the answer; without one it ends the chat", async () => {
    const running = start(["chat", "m"]);
    running.stdin.write("hang\n");
    await running.seen("partial");
    running.interrupt();
    await running.seen("(stopped)");
    running.stdin.write("more\n");
    await running.seen("echo more");
    running.interrupt();
    expect(await running.done).toBe(130);
  });

  test("a model without a chat template is refused", async () => {
    const { code, stderr } = await run(["chat", "m"], { env: { FAKE_NO_TEMPLATE: "1" } });
    expect(code).toBe(1);
    expect(stderr).toContain("no chat template; use: mlx-worker generate m");
  });
});

describe("commands", () => {
  test("/system, /clear, /stats, /help, // and unknown ones", async () => {
    const input =
      "/stats\n/system\none\n/system Be kind.\n/system Be brief.\nmore\n/stats\n/clear\n//two\n/nope\n/help\n/exit\nnever\n";
    const { code, stdout, stderr, requests } = await run(["chat", "m"], { input });
    expect({ code, stdout }).toEqual({ code: 0, stdout: "echo one\necho more\necho /two\n" });
    expect(requests("generate").map(({ messages }) => messages)).toEqual([
      [{ role: "user", content: "one" }],
      [
        { role: "system", content: "Be brief." },
        { role: "user", content: "one" },
        { role: "assistant", content: "echo one" },
        { role: "user", content: "more" },
      ],
      [
        { role: "system", content: "Be brief." },
        { role: "user", content: "/two" },
      ],
    ]);
    expect(stderr).toContain("There is no answer yet.");
    expect(stderr).toContain("There is no system message.");
    expect(stderr).toContain("2 generated, TTFT 250 ms");
    expect(stderr).toContain("There is no command /nope");
    for (const name of ["/help", "/clear", "/system", "/save", "/stats", "/exit"]) {
      expect(stderr).toMatch(new RegExp(`^  ${name}`, "m"));
    }
  });

  test("/save writes the conversation and overwrites nothing", async () => {
    const path = join(temporaryFolder(), "chat.json");
    const { code, stderr } = await run(["chat", "m"], {
      input: `one\n/save ${path}\n/save ${path}\n/save\n`,
    });
    expect(code).toBe(0);
    const messages = [
      { role: "user", content: "one" },
      { role: "assistant", content: "echo one" },
    ];
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual({ messages });
    expect(stderr).toContain(`Saved 2 messages to ${path}.`);
    expect(stderr).toContain("Not saved: EEXIST");
    expect(stderr).toContain("/save needs the name of a file.");
  });
});

describe("chat on a terminal", () => {
  test("prompts, answers, survives Ctrl-C and ends with Ctrl-D", async () => {
    const running = start(["chat", "m"], { terminal: true });
    await running.seen("> ");
    running.stdin.write("hang\r");
    await running.seen("partial");
    running.stdin.write(CTRL_C);
    await running.seen("(stopped)");
    running.stdin.write(`half a line${CTRL_C}`);
    await running.seen("Ctrl-D or /exit ends the chat");
    running.stdin.write("next\r");
    await running.seen("echo next");
    running.stdin.write(CTRL_D);
    expect(await running.done).toBe(0);
    expect(running.requests("generate").at(-1)?.messages).toEqual([
      { role: "user", content: "hang" },
      { role: "assistant", content: "partial" },
      { role: "user", content: "next" },
    ]);
  });

  test("goes on after a failure, in a new worker if need be", async () => {
    const running = start(["chat", "m"], { terminal: true });
    running.stdin.write("long\r");
    await running.seen("/clear begins a new conversation");
    running.stdin.write("die\r");
    await running.seen("ended unexpectedly");
    running.stdin.write("one\r");
    await running.seen("echo one");
    running.stdin.write("/exit\r");
    expect(await running.done).toBe(0);
    expect(running.requests("load_model")).toHaveLength(2);
    expect(running.requests("generate").at(-1)?.messages).toEqual([{ role: "user", content: "one" }]);
  });

  test("shows that a message goes on", async () => {
    const running = start(["chat", "m"], { terminal: true });
    running.stdin.write('"""\r');
    await running.seen("… ");
    running.stdin.write('a\rb\r"""\r');
    await running.seen("echo a\nb");
    running.stdin.write(CTRL_D);
    expect(await running.done).toBe(0);
  });
});
