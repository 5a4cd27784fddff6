import { type Command, defineCommand } from "../command.js";
import { expectPositionals } from "../engine-flags.js";
import { UsageError } from "../exit.js";

const DETAILS = `
Downloads a model from the Hugging Face hub into the Hugging Face cache, where the worker finds it by its id. By
default that are the files that a model needs: its weights (model*.safetensors, or the only .gguf file), config,
tokenizer, chat template and licence. Of several .gguf files --include chooses one. Every file is checked against
the hub's SHA-256, or git's SHA-1 for small ones. A pull that was interrupted goes on where it stopped, and
nothing of it can be loaded before it is complete.

Environment: HF_TOKEN (or the file of "hf auth login"), HF_ENDPOINT, HF_HUB_CACHE, HF_HOME; with
HF_HUB_OFFLINE=1 nothing is downloaded: the command says whether the model is in the cache.

Examples: mlx-worker pull mlx-community/SmolLM2-135M-Instruct
          mlx-worker pull bartowski/SmolLM2-135M-Instruct-GGUF --include "*Q4_K_M.gguf"
`;

/** `pull REPO[@REVISION]` */
export const pullCommand: Command = defineCommand({
  name: "pull",
  summary: "Download a model from the Hugging Face hub",
  usage: ["pull REPO[@REVISION] [OPTIONS]"],
  flags: {
    include: {
      type: "string",
      multiple: true,
      value: "PATTERN",
      help: "Take these files in place of the default; * stands for anything.",
    },
    exclude: { type: "string", multiple: true, value: "PATTERN", help: "Leave these files out." },
    all: { type: "boolean", help: "Take all files of the repository." },
    "dry-run": { type: "boolean", help: "Only list what would be taken." },
    quiet: { type: "boolean", short: "q", help: "No progress." },
    json: { type: "boolean", help: "Print one JSON object: path, commit, files." },
  },
  details: DETAILS,
  async run(values, positionals, io) {
    expectPositionals(positionals, ["REPO"], 1);
    if (values.all === true && values.include !== undefined) {
      throw new UsageError("--all and --include exclude each other");
    }
    // Only this command needs what talks to the hub.
    const { runPull } = await import("../hub/run-pull.js");
    return runPull(positionals[0] ?? "", values, io);
  },
});
