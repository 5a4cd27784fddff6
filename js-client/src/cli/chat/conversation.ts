import type { ChatMessage, Engine, GenerateResult, ModelRef, SamplingParams } from "../../index.js";

/** A conversation's messages and its answers, one at a time. */
export class Conversation {
  readonly #engine: Engine;
  readonly #params: SamplingParams & { readonly model: ModelRef };
  #history: ChatMessage[] = [];
  #stop: (() => void) | undefined;
  /** The message of role "system" in front of all; undefined: none. */
  system: string | undefined;
  /** The last answer. */
  last: GenerateResult | undefined;

  constructor(engine: Engine, params: SamplingParams & { readonly model: ModelRef }, system?: string) {
    this.#engine = engine;
    this.#params = params;
    this.system = system;
  }

  /** All messages, the system's included. */
  get messages(): readonly ChatMessage[] {
    return this.system === undefined
      ? [...this.#history]
      : [{ role: "system", content: this.system }, ...this.#history];
  }

  /** Whether an answer is being generated. */
  get answering(): boolean {
    return this.#stop !== undefined;
  }

  /** Forgets what was said; the system message stays. */
  clear(): void {
    this.#history = [];
    this.last = undefined;
  }

  /** Stops the answer that is being generated; what there is of it stays part of the conversation. */
  stop(): void {
    this.#stop?.();
  }

  /** Gets the answer to a message; one that fails leaves the conversation as it was. */
  async send(content: string, onText: (text: string) => void): Promise<GenerateResult> {
    const message = { role: "user", content };
    const generation = this.#engine.generate({ ...this.#params, messages: [...this.messages, message] });
    this.#stop = () => generation.cancel();
    try {
      for await (const { text } of generation) onText(text);
      const result = await generation;
      this.#history.push(message, { role: "assistant", content: result.text });
      this.last = result;
      return result;
    } finally {
      this.#stop = undefined;
    }
  }
}
