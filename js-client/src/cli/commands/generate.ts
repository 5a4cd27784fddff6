import { text as readText } from "node:stream/consumers";
import type { Engine, GenerateParams, GenerateResult, Generation, ModelHandle } from "../../index.js";
import { type Command, defineCommand } from "../command.js";
import {
  ENGINE_FLAGS,
  expectPositionals,
  LOAD_FLAGS,
  loadModel,
  loadOptions,
  openEngine,
} from "../engine-flags.js";
import { EXIT, UsageError } from "../exit.js";
import { figures } from "../figures.js";
import type { Values } from "../flags.js";
import { dim, Interrupted, type Io, interruptSignal, json, line } from "../io.js";
import { SAMPLING_FLAGS, samplingParams } from "../sampling-flags.js";

const FLAGS = {
  system: { type: "string", help: "System message in front of the prompt." },
  raw: { type: "boolean", help: "Use the prompt as it is, without the model's chat template." },
  json: { type: "boolean", help: "Print one JSON object: text, tokens, finishReason, usage, timings." },
  stats: { type: "boolean", help: "Print figures on stderr at the end." },
  "timeout-ms": { type: "integer", help: "End with finish reason timeout after so long." },
  ...SAMPLING_FLAGS,
  ...LOAD_FLAGS,
  ...ENGINE_FLAGS,
} as const;

type GenerateValues = Values<typeof FLAGS>;

const DETAILS = `
Without PROMPT, or with "-", the prompt is read from stdin, less one line break at its end. A model with a
chat template gets it as a message of the user, unless --raw. The text is streamed to stdout. Ctrl-C stops the
generation; what there is stays, and the exit code is 130.

Examples: mlx-worker generate ./SmolLM2-135M-Instruct.Q4_1.gguf "Why is the sky blue?"
          git diff | mlx-worker generate org/name --system "Write a commit message." --temperature 0
`;

/** `generate MODEL [PROMPT|-]` */
export const generateCommand: Command = defineCommand({
  name: "generate",
  summary: "Generate from a prompt",
  usage: ["generate MODEL [PROMPT|-] [OPTIONS]"],
  flags: FLAGS,
  details: DETAILS,
  async run(values, positionals, io) {
    expectPositionals(positionals, ["MODEL", "PROMPT"], 1);
    const [model = "", prompt] = positionals;
    if (values.json !== true && (values.logprobs ?? values["top-logprobs"]) !== undefined) {
      throw new UsageError("--logprobs and --top-logprobs need --json");
    }
    const load = loadOptions(model, values);
    const sampling = samplingParams(values);
    const text = await promptText(prompt, io);
    const interrupt = interruptSignal(io);
    const engine = openEngine(values, io);
    try {
      const handle = await loadModel(engine, load, io, interrupt.signal);
      const params = { ...sampling, ...input(handle, text, values) };
      return await generate(engine, params, values, io, interrupt.signal);
    } finally {
      interrupt.stop();
      await engine.close({ drainMs: 0 });
    }
  },
});

async function promptText(prompt: string | undefined, io: Io): Promise<string> {
  if (prompt !== undefined && prompt !== "-") return prompt;
  if (prompt === undefined && io.stdin.isTTY === true) {
    throw new UsageError("PROMPT is missing; accepted: a text, or - for stdin");
  }
  const text = (await readText(io.stdin)).replace(/\r?\n$/, "");
  if (text === "") throw new UsageError("the prompt on stdin is empty");
  return text;
}

function input(model: ModelHandle, text: string, values: GenerateValues): GenerateParams {
  if (values.raw === true || !model.chatTemplate) {
    if (values.system !== undefined) {
      throw new UsageError("--system needs a model with a chat template, and no --raw");
    }
    return { model, prompt: text };
  }
  const system = values.system === undefined ? [] : [{ role: "system", content: values.system }];
  return { model, messages: [...system, { role: "user", content: text }] };
}

async function generate(
  engine: Engine,
  params: GenerateParams,
  values: GenerateValues,
  io: Io,
  signal: AbortSignal,
): Promise<number> {
  if (signal.aborted) throw new Interrupted();
  const generation = engine.generate(params, { timeoutMs: values["timeout-ms"] });
  // Cancelled rather than aborted: what was generated until then is still a result.
  signal.addEventListener("abort", () => generation.cancel(), { once: true });
  const result = values.json === true ? await generation : await stream(generation, io);
  if (values.json === true) json(io, resultOf(result));
  if (values.stats === true) line(io.stderr, dim(io.stderr, io.env, figures(result)));
  return signal.aborted ? EXIT.interrupted : EXIT.ok;
}

async function stream(generation: Generation, io: Io): Promise<GenerateResult> {
  let last = "";
  for await (const { text } of generation) {
    io.stdout.write(text);
    if (text !== "") last = text;
  }
  if (!last.endsWith("\n")) line(io.stdout);
  return generation;
}

/** A result without what only means something to the connection. */
function resultOf({ streamId: _, ...result }: GenerateResult): Omit<GenerateResult, "streamId"> {
  return result;
}
