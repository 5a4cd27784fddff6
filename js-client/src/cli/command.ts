import { EXIT_CODES_HELP } from "./exit.js";
import { describeFlags, type Flags, parseFlags, type Values } from "./flags.js";
import { type Io, line } from "./io.js";

/** A subcommand of `mlx-worker`. */
export interface Command {
  readonly name: string;
  /** A few words for the list of commands. */
  readonly summary: string;
  /** The whole text of `--help`. */
  help(): string;
  /** Whether these arguments ask for JSON, errors included. */
  wantsJson(args: readonly string[]): boolean;
  /** Runs it; resolves to the exit code. What it cannot do rejects. */
  run(args: readonly string[], io: Io): Promise<number>;
}

/** What a command is made of. */
export interface CommandDefinition<F extends Flags> {
  readonly name: string;
  readonly summary: string;
  /** Forms of its command line, without the program's name. */
  readonly usage: readonly string[];
  readonly flags: F;
  /** What the help adds behind the options: details, examples, exit codes of its own. */
  readonly details?: string;
  run(values: Values<F>, positionals: readonly string[], io: Io): Promise<number>;
}

const HELP_FLAG = { help: { type: "boolean", short: "h", help: "Print this and exit." } } as const;

/** Makes a command of its definition: `--help` and the parsing are alike for all. */
export function defineCommand<const F extends Flags>(definition: CommandDefinition<F>): Command {
  const { name, summary, usage, flags, details } = definition;
  const all = { ...flags, ...HELP_FLAG };
  const help = (): string =>
    [
      `${summary}.`,
      "",
      ...usage.map((form, i) => `${i === 0 ? "Usage:" : "      "} mlx-worker ${form}`),
      "",
      "Options:",
      ...describeFlags(all),
      ...(details === undefined ? [] : ["", details.trim()]),
      "",
      EXIT_CODES_HELP,
    ].join("\n");
  return {
    name,
    summary,
    help,
    wantsJson: (args) => "json" in flags && args.slice(0, endOfOptions(args)).includes("--json"),
    async run(args, io) {
      const { values, positionals } = parseFlags(args, all);
      if (values.help === true) {
        line(io.stdout, help());
        return 0;
      }
      return definition.run(values as Values<F>, positionals, io);
    },
  };
}

function endOfOptions(args: readonly string[]): number {
  const end = args.indexOf("--");
  return end < 0 ? args.length : end;
}
