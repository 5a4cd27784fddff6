import type { Answer, ColdTimes, EngineInfo, EngineName, EngineUnderTest, Question } from "../lib/engine.js";
import type { Arrival, StreamRecord } from "../lib/load/stream.js";

/** An answer of so many tokens that took so long. */
export function answerOf(tokens: readonly number[], ttftMs: number, totalMs: number): Answer {
  return { text: "text", tokens, promptTokens: 7, cachedTokens: 0, ttftMs, totalMs, finishReason: "length" };
}

/** An engine that answers from a script and notes what it was asked, in a log that engines may share. */
export class ScriptedEngine implements EngineUnderTest {
  readonly questions: Question[] = [];

  constructor(
    readonly name: EngineName,
    readonly log: string[],
    readonly script: (question: Question) => Answer = () => answerOf([1, 2], 10, 30),
    readonly failStart = false,
  ) {}

  async start(): Promise<ColdTimes> {
    this.log.push(`${this.name} start`);
    if (this.failStart) throw new Error("no start");
    return { processMs: 100, loadMs: 200 };
  }

  async answer(question: Question): Promise<Answer> {
    this.log.push(`${this.name} ${question.text}`);
    this.questions.push(question);
    return this.script(question);
  }

  async info(): Promise<EngineInfo> {
    return {
      device: "cpu",
      dtype: "float32",
      versions: { [this.name]: "1.0" },
      eosTokenIds: [2],
      chatTemplate: true,
      pid: process.pid,
      settings: {},
    };
  }

  async stop(): Promise<void> {
    this.log.push(`${this.name} stop`);
  }
}

/** An answer of these parts. */
export function recordOf(arrivals: readonly Arrival[], sentMs: number): StreamRecord {
  return {
    sentMs,
    endedMs: arrivals.at(-1)?.atMs ?? sentMs,
    arrivals,
    tokens: null,
    promptTokens: 3,
    completionTokens: arrivals.length,
    queueMs: null,
  };
}
