import { describe, expect, test } from "vitest";
import { BusyError, ChatSession, InvalidParamsError } from "../../src/index.js";
import { collect, fakeEngine, rejection, requestsSeen } from "./fake-engine.js";

const user = (content: string) => ({ role: "user", content });
const assistant = (content: string) => ({ role: "assistant", content });

test("chat sends the conversation with its parameters", async () => {
  const engine = fakeEngine();
  const answer = await engine.chat([user("hi")], { model: "m", maxTokens: 2 }, { priority: "urgent" });
  expect(answer).toMatchObject({ text: "t0 t1 ", finishReason: "length", usage: { completionTokens: 2 } });
  expect((await requestsSeen(engine)).find(({ method }) => method === "generate")?.params).toEqual({
    model_id: "m",
    messages: [user("hi")],
    max_tokens: 2,
    priority: "urgent",
    stream_id: answer.streamId,
  });
  expect(await rejection(engine.chat("hi" as never, { model: "m" }))).toBeInstanceOf(InvalidParamsError);
});

describe("ChatSession", () => {
  test("sends what was said so far, and keeps answers", async () => {
    const engine = fakeEngine();
    const chat = new ChatSession(engine, { model: "m", system: "Be brief.", maxTokens: 1 });
    expect((await collect(chat.send("one"))).map(({ text }) => text)).toEqual(["t0 "]);
    await chat.send([{ role: "tool", content: "42" }, user("two")]);
    const messages = [
      { role: "system", content: "Be brief." },
      user("one"),
      assistant("t0 "),
      { role: "tool", content: "42" },
      user("two"),
    ];
    expect(chat.messages).toEqual([...messages, assistant("t0 ")]);
    const sent = (await requestsSeen(engine)).filter(({ method }) => method === "generate");
    expect(sent[1]?.params).toMatchObject({ model_id: "m", max_tokens: 1, messages });

    chat.clear();
    expect(chat.messages).toEqual([{ role: "system", content: "Be brief." }]);
  });

  test("an answer that fails or is aborted leaves no trace", async () => {
    const chat = new ChatSession(fakeEngine(), { model: "m", messages: [user("before")] });
    await rejection(chat.send("fail"));
    const controller = new AbortController();
    const aborted = chat.send("hang", { signal: controller.signal });
    expect(chat.busy).toBe(true);
    controller.abort("enough");
    expect(await rejection(aborted)).toBe("enough");
    expect(chat.busy).toBe(false);
    expect(chat.messages).toEqual([user("before")]);
  });

  test("an answer that is stopped, by stop() or by leaving its loop, is kept as far as it came", async () => {
    const chat = new ChatSession(fakeEngine(), { model: "m" });
    const answer = chat.send("hang");
    await answer[Symbol.asyncIterator]().next();
    chat.stop();
    expect((await answer).finishReason).toBe("cancelled");
    const left = chat.send({ role: "user", content: "hang" });
    for await (const _ of left) break;
    await left;
    const kept = assistant("t0 late ");
    expect(chat.messages).toEqual([user("hang"), kept, user("hang"), kept]);
  });

  test("one answer at a time", async () => {
    const chat = new ChatSession(fakeEngine(), { model: "m" });
    const answer = chat.send("hang");
    expect(() => chat.send("more")).toThrow(BusyError);
    expect(() => new ChatSession(fakeEngine(), { model: "m" }).send([])).toThrow(InvalidParamsError);
    chat.stop();
    await answer;
    await chat.send("more");
    expect(chat.messages).toHaveLength(4);
  });

  test("clear() forgets the answer that is being generated", async () => {
    const chat = new ChatSession(fakeEngine(), { model: "m" });
    const forgotten = chat.send("hang");
    chat.clear();
    expect((await forgotten).finishReason).toBe("cancelled");
    expect(chat.messages).toEqual([]);
    await chat.send("next");
    expect(chat.messages.map(({ role }) => role)).toEqual(["user", "assistant"]);
  });
});
