import type { BaselinePython, PreparedModel } from "../../baseline/ensure.js";
import { chooseBatchSettings } from "../../baseline/tune.js";
import type { EngineUnderTest } from "../engine.js";
import type { Progress } from "../progress.js";
import { withLimit } from "./limit.js";

/** Longest time of a start, and of the choice of settings, which starts engines too; milliseconds. */
const START_LIMIT_MS = 600_000;

/** Starts an engine. @throws LimitError when it hangs */
export async function startEngine(
  engine: Pick<EngineUnderTest, "name" | "start">,
  progress: Progress,
): Promise<void> {
  progress.line(`starting ${engine.name}`);
  await withLimit(`the start of ${engine.name}`, START_LIMIT_MS, () => engine.start());
}

/**
 * The settings that mlx-lm is fastest with on prompts of token ids, all of them at once.
 *
 * @throws LimitError when the choice hangs
 */
export async function chooseSettings(
  python: BaselinePython,
  model: PreparedModel,
  prompts: readonly (readonly number[])[],
  progress: Progress,
): ReturnType<typeof chooseBatchSettings> {
  progress.line("choosing mlx-lm's best settings");
  return withLimit("the choice of mlx-lm's settings", START_LIMIT_MS, () =>
    chooseBatchSettings(python, model, prompts, (line) => progress.line(line)),
  );
}
