import { describe, expect, test } from "vitest";
import { JsonLinesProcess, type RunnerCommand, RunnerError, runToEnd } from "../baseline/json-lines.js";

/** A runner that is a line of JavaScript. */
const node = (source: string): RunnerCommand => ({
  file: process.execPath,
  args: ["--input-type=module", "-e", source],
  env: process.env,
});

const ECHO = `
  import { createInterface } from "node:readline";
  console.log('{"ok": true}');
  for await (const line of createInterface({ input: process.stdin })) {
    const { cmd, ...fields } = JSON.parse(line);
    if (cmd === "quit") break;
    if (cmd === "die") { console.error("last words"); process.exit(9); }
    console.log(JSON.stringify(cmd === "fail" ? { ok: false, error: "refused" } : { ok: true, cmd, ...fields }));
  }
`;

describe("JsonLinesProcess", () => {
  test("answers in order, survives a failed command, quits by itself", async () => {
    const runner = new JsonLinesProcess(node(ECHO));
    await runner.ready();
    expect(runner.pid).toBeGreaterThan(0);
    expect(await runner.request("answer", { text: "ä" })).toEqual({ ok: true, cmd: "answer", text: "ä" });
    await expect(runner.request("fail")).rejects.toThrow(new RunnerError("fail: refused"));
    expect(await runner.request("answer")).toMatchObject({ cmd: "answer" });
    await runner.stop();
    await runner.stop();
  });

  test("the end of the process rejects with its last words", async () => {
    const runner = new JsonLinesProcess(node(ECHO));
    await runner.ready();
    await expect(runner.request("die")).rejects.toThrow(/ended during "die" \(exit code 9\)\nlast words/);
    await expect(runner.request("answer")).rejects.toThrow('ended during "answer"');
    await runner.stop();
  });

  test("a program that does not exist rejects", async () => {
    const runner = new JsonLinesProcess({ file: "/no/such/program", args: [], env: {} });
    await expect(runner.ready()).rejects.toThrow("ENOENT");
    await runner.stop();
  });
});

describe("runToEnd", () => {
  test("returns what was printed", async () => {
    expect(await runToEnd(node("console.log('out')"))).toBe("out\n");
  });

  test("rejects with the command and its exit code", async () => {
    await expect(runToEnd(node("process.exit(4)"))).rejects.toThrow(/failed \(exit code 4\)/);
    await expect(runToEnd({ file: "/no/such/program", args: [], env: {} })).rejects.toThrow("ENOENT");
  });
});
