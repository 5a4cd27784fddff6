import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { readInput } from "../../src/cli/chat/input.js";

test("a message that came before the end is answered without another prompt, and Ctrl-C changes nothing", async () => {
  const terminal = (): PassThrough => Object.assign(new PassThrough(), { isTTY: true, columns: 80 });
  const [stdin, stdout] = [terminal(), terminal()];
  let printed = "";
  stdout.on("data", (data) => {
    printed += data;
  });
  const input = readInput({
    stdin,
    stdout,
    stderr: stdout,
    env: { NO_COLOR: "1" },
    onInterrupt: () => () => {},
  });
  const messages = input[Symbol.asyncIterator]();
  const first = messages.next();
  // One write, so that the reader is closed by Ctrl-D before the message is delivered.
  stdin.write("hello\r\u0004");
  expect(await first).toEqual({ done: false, value: "hello" });

  const before = printed;
  expect(before).toContain("> ");
  // As Ctrl-C while nothing is answered does.
  input.discard();
  expect(await messages.next()).toEqual({ done: true, value: undefined });
  input.close();
  expect(printed).toBe(before);
});
