import { readFileSync } from "node:fs";
import type { Guidance, SamplingParams } from "../index.js";
import { messageOf, UsageError } from "./exit.js";
import type { Values } from "./flags.js";

/** The options that decide how tokens are chosen: one for each sampling parameter of the API. */
export const SAMPLING_FLAGS = {
  "max-tokens": { type: "integer", help: "Most tokens to generate. Default 512." },
  temperature: { type: "number", help: "0 is greedy decoding. Default 0.7." },
  "top-p": { type: "number", help: "Probability mass to sample from. Default 1." },
  "top-k": { type: "integer", help: "Number of likeliest tokens to sample from; 0: all. Default 0." },
  "min-p": { type: "number", help: "Least probability relative to the likeliest token. Default 0." },
  "xtc-probability": { type: "number", help: "Probability of excluding the top choices. Default 0." },
  "xtc-threshold": { type: "number", help: "Probability above which a token is a top choice. Default 0.1." },
  "repetition-penalty": { type: "number", help: "Penalty of tokens that occurred; 1: none. Default 1." },
  "repetition-context-size": { type: "integer", help: "Last tokens that penalties look at. Default 20." },
  "presence-penalty": { type: "number", help: "Penalty of tokens that occurred, -2 to 2. Default 0." },
  "frequency-penalty": { type: "number", help: "Penalty for each occurrence, -2 to 2. Default 0." },
  "logit-bias": {
    type: "string",
    multiple: true,
    value: "ID=BIAS",
    help: "Added to the logit of a token id, -100 to 100.",
  },
  seed: { type: "integer", help: "Makes sampling repeatable." },
  stop: { type: "string", multiple: true, help: "Text that ends the generation." },
  "stop-token-id": {
    type: "integer",
    multiple: true,
    value: "ID",
    help: "Token id that ends the generation.",
  },
  "ignore-eos": { type: "boolean", help: "Go on after an end-of-text token." },
  logprobs: { type: "boolean", help: "Report the log probability of every token (--json)." },
  "top-logprobs": { type: "integer", help: "Alternatives to report with every token, 0 to 20 (--json)." },
  guidance: {
    type: "string",
    value: "MODE",
    accepted: ["json", "json_schema", "regex", "lark"],
    help: "Constrain the text.",
  },
  "guidance-schema": {
    type: "string",
    value: "TEXT|@FILE",
    help: "JSON schema, regular expression or grammar for --guidance.",
  },
  "draft-model": { type: "string", value: "MODEL", help: "Loaded model that drafts tokens." },
  "num-draft-tokens": { type: "integer", help: "Tokens drafted a step. Default 3." },
  "no-cache-prompt": { type: "boolean", help: "Do not keep the prompt's KV cache." },
  "no-stream": { type: "boolean", help: "Print the text at the end, in one piece." },
} as const;

type SamplingValues = Values<typeof SAMPLING_FLAGS>;

/**
 * The sampling parameters that the options stand for; undefined leaves the worker's default.
 *
 * @throws UsageError for a logit bias of a wrong form, or a schema without guidance or that cannot be read
 */
export function samplingParams(values: SamplingValues): SamplingParams {
  // Every parameter has to have its line here: the type makes it so.
  const params: { readonly [Name in keyof Required<SamplingParams>]: SamplingParams[Name] } = {
    maxTokens: values["max-tokens"],
    temperature: values.temperature,
    topP: values["top-p"],
    topK: values["top-k"],
    minP: values["min-p"],
    xtcProbability: values["xtc-probability"],
    xtcThreshold: values["xtc-threshold"],
    repetitionPenalty: values["repetition-penalty"],
    repetitionContextSize: values["repetition-context-size"],
    presencePenalty: values["presence-penalty"],
    frequencyPenalty: values["frequency-penalty"],
    logitBias: logitBias(values["logit-bias"]),
    seed: values.seed,
    stopSequences: values.stop,
    stopTokenIds: values["stop-token-id"],
    ignoreEos: values["ignore-eos"],
    logprobs: values.logprobs,
    topLogprobs: values["top-logprobs"],
    guidance: guidance(values),
    draftModel: values["draft-model"],
    numDraftTokens: values["num-draft-tokens"],
    cachePrompt: values["no-cache-prompt"] === true ? false : undefined,
    stream: values["no-stream"] === true ? false : undefined,
  };
  return params;
}

function logitBias(given: readonly string[] | undefined): Record<number, number> | undefined {
  if (given === undefined) return undefined;
  return Object.fromEntries(
    given.map((pair) => {
      const [, id, bias] = /^(\d+)[=:](-?[\d.]+)$/.exec(pair) ?? [];
      if (id === undefined || !Number.isFinite(Number(bias)))
        throw new UsageError(`--logit-bias ${JSON.stringify(pair)}: accepted: ID=BIAS, such as 42=-100`);
      return [Number(id), Number(bias)];
    }),
  );
}

function guidance(values: SamplingValues): Guidance | undefined {
  const { guidance: mode, "guidance-schema": schema } = values;
  if (mode === undefined) {
    if (schema !== undefined) throw new UsageError("--guidance-schema needs --guidance");
    return undefined;
  }
  return { mode, schema: schema === undefined ? undefined : textOrFile("--guidance-schema", schema) };
}

/** The text itself, or with a leading `@` the content of a file. */
function textOrFile(flag: string, given: string): string {
  if (!given.startsWith("@")) return given;
  try {
    return readFileSync(given.slice(1), "utf8");
  } catch (error) {
    throw new UsageError(`${flag}: ${messageOf(error)}`);
  }
}
