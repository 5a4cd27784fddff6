import { type FlagTable, helpText, parseFlags, UsageError } from "./flags.js";

/**
 * Runs a benchmark's command line and sets the exit code: what `run` returns; 1 when it throws; 2 for a wrong
 * command line. Errors go to stderr.
 *
 * @param usage how the command is called, for `--help`
 */
export async function runCommand<Options extends { readonly help: boolean }>(
  usage: string,
  flags: FlagTable<Options>,
  run: (options: Options) => Promise<number>,
): Promise<void> {
  try {
    const options = parseFlags(process.argv.slice(2), flags);
    if (options.help) process.stdout.write(helpText(usage, flags));
    else process.exitCode = await run(options);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = error instanceof UsageError ? 2 : 1;
  }
}
