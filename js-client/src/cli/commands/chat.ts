import { Conversation } from "../chat/conversation.js";
import { readInput } from "../chat/input.js";
import { talk } from "../chat/talk.js";
import { type Command, defineCommand } from "../command.js";
import {
  ENGINE_FLAGS,
  expectPositionals,
  LOAD_FLAGS,
  loadModel,
  loadOptions,
  openEngine,
} from "../engine-flags.js";
import { CommandError } from "../exit.js";
import { dim, interruptSignal, line } from "../io.js";
import { SAMPLING_FLAGS, samplingParams } from "../sampling-flags.js";

const DETAILS = `
Answers are streamed. A line that ends with a backslash goes on in the next one; """ on a line of its own begins
and ends a text of several lines. Ctrl-C stops the answer, not the chat; Ctrl-D or /exit ends it. /help lists the
commands. From a pipe every line, or """ text, is a message; the first one that fails ends the chat with exit code 1.

Example: printf 'Hello!\\nAnd in French?\\n' | mlx-worker chat org/name --temperature 0
`;

// A chat prints text only.
const { logprobs: _, "top-logprobs": __, ...CHAT_FLAGS } = SAMPLING_FLAGS;

/** `chat MODEL` */
export const chatCommand: Command = defineCommand({
  name: "chat",
  summary: "Talk with a model",
  usage: ["chat MODEL [OPTIONS]"],
  flags: {
    system: { type: "string", help: "System message of the conversation." },
    ...CHAT_FLAGS,
    ...LOAD_FLAGS,
    ...ENGINE_FLAGS,
  },
  details: DETAILS,
  async run(values, positionals, io) {
    expectPositionals(positionals, ["MODEL"], 1);
    const [name = ""] = positionals;
    const load = loadOptions(name, values);
    const sampling = samplingParams(values);
    const engine = openEngine(values, io);
    try {
      const starting = interruptSignal(io);
      const model = await loadModel(engine, load, io, starting.signal).finally(starting.stop);
      if (!model.chatTemplate) {
        throw new CommandError(
          "NoChatTemplate",
          `${name} has no chat template; use: mlx-worker generate ${name}`,
        );
      }
      const input = readInput(io);
      if (input.interactive) {
        const about = `${name}: ${model.architecture}, ${model.contextLength} tokens of context. /help lists the commands.`;
        line(io.stderr, dim(io.stderr, io.env, about));
      }
      return await talk(new Conversation(engine, { ...sampling, model }, values.system), input, io);
    } finally {
      await engine.close({ drainMs: 0 });
    }
  },
});
