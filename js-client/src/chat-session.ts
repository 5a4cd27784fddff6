import { BusyError } from "./errors.js";
import type { Engine } from "./types/engine.js";
import type { ChatMessage, ChatParams, GenerateOptions, Generation } from "./types/generate.js";
import { invalidParam } from "./wire-errors.js";

/** Parameters of a {@link ChatSession}: those of every answer, and how the conversation begins. */
export interface ChatSessionParams extends ChatParams {
  /** Text of a first message of role "system". */
  readonly system?: string | undefined;
  /** Messages to begin with, behind `system`. */
  readonly messages?: readonly ChatMessage[] | undefined;
}

/**
 * A conversation with a model that keeps its messages. An answer joins them, together with what it answers, when it is
 * complete or was stopped; one that failed or was aborted leaves the conversation as it was, so that it can be asked
 * for again.
 *
 * @example
 * ```ts
 * const chat = new ChatSession(engine, { model, system: "Answer in one sentence." });
 * for await (const chunk of chat.send("Why is the sky blue?")) process.stdout.write(chunk.text);
 * const { text } = await chat.send("And at dusk?");
 * ```
 */
export class ChatSession {
  readonly #engine: Pick<Engine, "chat">;
  readonly #params: ChatParams;
  readonly #opening: readonly ChatMessage[];
  #messages: ChatMessage[];
  #answer: Generation | undefined;

  /**
   * Begins a conversation; nothing is sent yet.
   *
   * @param engine what answers, with the model loaded
   * @param params the model, how its answers are generated, and how the conversation begins
   */
  constructor(engine: Pick<Engine, "chat">, params: ChatSessionParams) {
    const { system, messages = [], ...rest } = params;
    this.#engine = engine;
    this.#params = rest;
    this.#opening = system === undefined ? messages : [{ role: "system", content: system }, ...messages];
    this.#messages = [...this.#opening];
  }

  /** The conversation so far, without the answer that is being generated. */
  get messages(): readonly ChatMessage[] {
    return [...this.#messages];
  }

  /** Whether an answer is being generated. */
  get busy(): boolean {
    return this.#answer !== undefined;
  }

  /**
   * Asks for the next answer, at once; what fails comes out of the returned generation. Its `tokens`, `usage` and so on
   * are those of this answer.
   *
   * @param message text of a message of role "user", or messages of any role, such as the results of tools
   * @param options `signal` aborts the answer: the generation rejects, and the conversation stays as it was
   * @throws BusyError while another answer is being generated
   * @throws InvalidParamsError when there is no message
   */
  send(message: string | ChatMessage | readonly ChatMessage[], options: GenerateOptions = {}): Generation {
    if (this.#answer !== undefined) {
      throw new BusyError("send: the answer before is still being generated", { kind: "Busy" });
    }
    const asked = messagesOf(message);
    const answer = this.#engine.chat([...this.#messages, ...asked], this.#params, options);
    this.#answer = answer;
    answer.then(
      ({ text }) => {
        if (this.#answer === answer) this.#messages.push(...asked, { role: "assistant", content: text });
        this.#settled(answer);
      },
      () => this.#settled(answer),
    );
    return answer;
  }

  /**
   * Stops the answer that is being generated: it resolves with finish reason "cancelled", and what there is of it joins
   * the conversation. Does nothing without one.
   */
  stop(): void {
    this.#answer?.cancel();
  }

  /** Goes back to how the conversation began; an answer that is being generated is stopped and forgotten. */
  clear(): void {
    this.stop();
    this.#answer = undefined;
    this.#messages = [...this.#opening];
  }

  #settled(answer: Generation): void {
    if (this.#answer === answer) this.#answer = undefined;
  }
}

function messagesOf(message: string | ChatMessage | readonly ChatMessage[]): readonly ChatMessage[] {
  if (typeof message === "string") return [{ role: "user", content: message }];
  const messages = isList(message) ? message : [message];
  if (messages.length === 0) throw invalidParam("message", "send: there is no message");
  return messages;
}

function isList(message: ChatMessage | readonly ChatMessage[]): message is readonly ChatMessage[] {
  return Array.isArray(message);
}
