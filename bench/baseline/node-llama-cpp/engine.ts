import { resolve } from "node:path";
import type { ColdTimes, EngineInfo } from "../../lib/engine.js";
import type { StreamRecord } from "../../lib/load/stream.js";
import { JsonLinesProcess, type RunnerCommand } from "../json-lines.js";

/** Prompts that are answered at once, each in a sequence of its own in one context. */
export interface LlamaRequest {
  /** Token ids. */
  readonly prompts: readonly (readonly number[])[];
  /** Tokens of every answer: nothing ends one earlier. */
  readonly maxTokens: number;
  /** Tokens that are generated before from as many of every prompt, and forgotten; 1 at least. */
  readonly warmUpTokens: number;
  /** Threads of the context. */
  readonly threads: number;
}

interface LoadReply {
  readonly versions: Readonly<Record<string, string>>;
  readonly system: string;
  readonly eos_token_ids: readonly number[];
}

interface GenerateReply {
  readonly answers: readonly {
    readonly sent_ms: number;
    readonly tokens: readonly number[];
    readonly at_ms: readonly number[];
  }[];
}

/** node-llama-cpp in a Node.js process of its own. Its times are taken inside that process. */
export class NodeLlamaCppEngine {
  readonly name = "node-llama-cpp";
  readonly #command: RunnerCommand;
  readonly #model: string;
  #process: JsonLinesProcess | undefined;
  #loaded: LoadReply | undefined;

  /** @param model path of a GGUF file. Nothing is started before {@link start}. */
  constructor(command: RunnerCommand, model: string) {
    this.#command = command;
    this.#model = resolve(model);
  }

  async start(): Promise<ColdTimes> {
    this.#process = new JsonLinesProcess(this.#command, this.name);
    const { reply, ...times } = await this.#process.load({ model: this.#model });
    this.#loaded = reply as unknown as LoadReply;
    return times;
  }

  /** Answers prompts at once, greedily. Times are on that process's clock. */
  async generate(request: LlamaRequest): Promise<StreamRecord[]> {
    const reply = (await this.#started().process.request("generate", {
      prompts: request.prompts,
      max_tokens: request.maxTokens,
      warm_up_tokens: request.warmUpTokens,
      threads: request.threads,
    })) as unknown as GenerateReply;
    return reply.answers.map(({ sent_ms, tokens, at_ms }, i) => ({
      sentMs: sent_ms,
      endedMs: at_ms.at(-1) ?? sent_ms,
      arrivals: at_ms.map((atMs) => ({ atMs, tokens: 1, hasText: false })),
      tokens,
      promptTokens: request.prompts[i]?.length ?? 0,
      completionTokens: tokens.length,
      queueMs: null,
    }));
  }

  /** @param settings what it was found to be fastest with */
  info(settings: Readonly<Record<string, string>>): EngineInfo {
    const { process, loaded } = this.#started();
    return {
      device: "cpu",
      dtype: "as llama.cpp chooses",
      versions: loaded.versions,
      eosTokenIds: loaded.eos_token_ids,
      chatTemplate: false,
      pid: process.pid,
      settings: { "flash attention": "on", ...settings, library: loaded.system },
    };
  }

  async stop(): Promise<void> {
    const process = this.#process;
    this.#process = undefined;
    this.#loaded = undefined;
    await process?.stop();
  }

  #started(): { process: JsonLinesProcess; loaded: LoadReply } {
    if (!this.#process || !this.#loaded) throw new Error("node-llama-cpp has not been started");
    return { process: this.#process, loaded: this.#loaded };
  }
}
