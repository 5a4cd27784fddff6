import type { Command } from "./command.js";
import { benchCommand } from "./commands/bench.js";
import { chatCommand } from "./commands/chat.js";
import { doctorCommand } from "./commands/doctor.js";
import { generateCommand } from "./commands/generate.js";
import { inspectCommand } from "./commands/inspect.js";
import { modelsCommand } from "./commands/models.js";
import { pullCommand } from "./commands/pull.js";
import { EXIT, EXIT_CODES_HELP, errorReport, exitCodeOf, messageOf, UsageError } from "./exit.js";
import { type Io, json, line } from "./io.js";
import { packageVersion } from "./package-version.js";

const COMMANDS: readonly Command[] = [
  chatCommand,
  generateCommand,
  pullCommand,
  modelsCommand,
  inspectCommand,
  benchCommand,
  doctorCommand,
];

function help(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length));
  return [
    "Runs language models on MLX.",
    "",
    "Usage: mlx-worker COMMAND [OPTIONS]",
    "",
    ...COMMANDS.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`),
    "",
    "mlx-worker COMMAND --help describes a command, mlx-worker --version prints the version.",
    "A MODEL is a folder with config.json, a .gguf file, or an id such as org/name or org/name@revision.",
    "",
    EXIT_CODES_HELP,
  ].join("\n");
}

/** Runs a command line, without the program's name; resolves to the exit code and never rejects. */
export async function main(args: readonly string[], io: Io): Promise<number> {
  const [name, ...rest] = args;
  const command = COMMANDS.find((known) => known.name === name);
  try {
    if (command !== undefined) return await command.run(rest, io);
    return top(name, rest, io);
  } catch (error) {
    const hint =
      error instanceof UsageError ? `; see mlx-worker ${command?.name ?? ""} --help`.replace("  ", " ") : "";
    line(io.stderr, `mlx-worker: ${messageOf(error)}${hint}`);
    if (command?.wantsJson(rest) === true) json(io, { error: errorReport(error) });
    return exitCodeOf(error);
  }
}

function top(name: string | undefined, rest: readonly string[], io: Io): number {
  if (name === "--version" || name === "-V") {
    line(io.stdout, packageVersion());
    return EXIT.ok;
  }
  if (name === "--help" || name === "-h" || name === "help") {
    const topic = COMMANDS.find((known) => known.name === rest[0]);
    line(io.stdout, topic?.help() ?? help());
    return EXIT.ok;
  }
  if (name === undefined) {
    line(io.stderr, help());
    return EXIT.usage;
  }
  const names = COMMANDS.map((known) => known.name).join(", ");
  throw new UsageError(`there is no command ${JSON.stringify(name)}; accepted: ${names}`);
}
