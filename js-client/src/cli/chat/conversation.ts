import {
  type ChatMessage,
  type ChatParams,
  ChatSession,
  type Engine,
  type GenerateResult,
} from "../../index.js";

/** A {@link ChatSession} whose system message can be changed, and its last answer. */
export class Conversation {
  readonly #engine: Engine;
  readonly #params: ChatParams;
  #system: string | undefined;
  #session: ChatSession;
  /** The last answer. */
  last: GenerateResult | undefined;

  constructor(engine: Engine, params: ChatParams, system?: string) {
    this.#engine = engine;
    this.#params = params;
    this.#system = system;
    this.#session = this.#begin([]);
  }

  /** The messages and the answer that is being generated. */
  get session(): ChatSession {
    return this.#session;
  }

  /** The message of role "system" in front of all; undefined: none. */
  get system(): string | undefined {
    return this.#system;
  }

  set system(text: string) {
    const said = this.#session.messages.slice(this.#system === undefined ? 0 : 1);
    this.#system = text;
    this.#session = this.#begin(said);
  }

  /** Forgets what was said; the system message stays. */
  clear(): void {
    this.#session = this.#begin([]);
    this.last = undefined;
  }

  /** Gets the answer to a message; one that fails leaves the conversation as it was. */
  async send(content: string, onText: (text: string) => void): Promise<GenerateResult> {
    const answer = this.#session.send(content);
    for await (const { text } of answer) onText(text);
    this.last = await answer;
    return this.last;
  }

  #begin(messages: readonly ChatMessage[]): ChatSession {
    return new ChatSession(this.#engine, { ...this.#params, system: this.#system, messages });
  }
}
