import { EXIT } from "../exit.js";
import { type Io, interruptSignal, json, line } from "../io.js";
import { progressBars } from "./bars.js";
import { pull } from "./pull.js";
import type { Selection } from "./select.js";
import { hubSettings, parseRepo } from "./settings.js";

/** The options of the command. */
export interface PullValues extends Selection {
  readonly "dry-run"?: boolean | undefined;
  readonly quiet?: boolean | undefined;
  readonly json?: boolean | undefined;
}

/** The work of `pull REPO[@REVISION]`; resolves to the exit code. */
export async function runPull(repo: string, values: PullValues, io: Io): Promise<number> {
  const name = parseRepo(repo);
  const settings = hubSettings(io.env);
  const { include, exclude, all, "dry-run": dryRun } = values;
  const interrupt = interruptSignal(io);
  try {
    const progress = progressBars(io, values.quiet === true);
    const result = await pull(name, {
      settings,
      include,
      exclude,
      all,
      dryRun,
      progress,
      signal: interrupt.signal,
    });
    if (values.json === true) json(io, result);
    else if (dryRun === true) for (const { path } of result.files) line(io.stdout, path);
    else line(io.stdout, result.path);
    return EXIT.ok;
  } finally {
    interrupt.stop();
  }
}
