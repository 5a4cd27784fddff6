/**
 * Tokens per second of mlx-worker under a closed loop of 1, 2, 4 … clients, beside mlx-lm's `batch_generate` on
 * request. What is measured and the format of the result: README.md.
 */
import { renderChart } from "./lib/chart.js";
import { runCommand } from "./lib/command.js";
import { settingsLine, withRowLimit } from "./lib/load/args.js";
import { Progress } from "./lib/progress.js";
import { engineLines, parityLines } from "./lib/report.js";
import { deliver, engineFacts, resultHead, workerEnvironment } from "./lib/result.js";
import { described, sum } from "./lib/stats.js";
import { THROUGHPUT_FLAGS, type ThroughputOptions } from "./lib/throughput/args.js";
import { throughputSpec } from "./lib/throughput/chart.js";
import { compareParity, measureAll, measureSchedulers, withStarted } from "./lib/throughput/phases.js";
import { schedulerLines, throughputLines } from "./lib/throughput/report.js";
import { summarizeLevels } from "./lib/throughput/summary.js";

async function run(options: ThroughputOptions): Promise<number> {
  const engines = options.baseline === "mlx-lm" ? 2 : 1;
  const steps = options.concurrency.length * options.cycles * engines;
  const progress = new Progress(options.json ? process.stderr : process.stdout, steps);
  const env = withRowLimit(Math.max(...options.concurrency));
  const environment = workerEnvironment({ ...process.env, ...env });
  progress.line(
    `Throughput of ${options.model}: prompts of ${options.promptTokens} random ids, answers of ${options.maxTokens} tokens, greedy`,
  );
  progress.line(settingsLine(environment));

  const { runs, parity, infos, requests } = await withStarted(options, env, progress, async (started) => {
    for (const line of engineLines(started.infos)) progress.line(line);
    const measured = await measureAll(started, options, progress);
    return { runs: measured, parity: await compareParity(started, measured, options, progress), ...started };
  }).finally(() => progress.end());
  const schedulers = options.schedulerOff ? await measureSchedulers(options, requests, progress) : null;

  const result = {
    ...resultHead("throughput", options, environment, new Date()),
    engines: Object.fromEntries([...infos].map(([name, info]) => [name, engineFacts(info)])),
    levels: summarizeLevels(runs),
    schedulers,
    tokenParity: parity,
    rawResults: runs.map(({ ttftMs, interTokenMs, answers: _answers, ...rest }) => ({
      ...rest,
      ttft: described(ttftMs),
      interToken: described(interTokenMs),
    })),
  };
  for (const line of throughputLines(result.levels)) progress.line(line);
  if (schedulers) for (const line of schedulerLines(schedulers)) progress.line(line);
  if (parity) {
    for (const line of parityLines(parity, "mlx-lm")) progress.line(line);
    progress.line(
      `(${parity.answers} answers to ${parity.compared} prompts were compared with mlx-lm's alone)`,
    );
  }
  await deliver(options, result, await renderChart(throughputSpec(result)), (line) => progress.line(line));
  const failed = sum(runs.map((one) => one.failures.length));
  if (failed > 0) progress.line(`✗ ${failed} requests failed`);
  return failed > 0 || (parity?.different.length ?? 0) > 0 ? 1 : 0;
}

await runCommand("npm run bench:throughput -- [options]", THROUGHPUT_FLAGS, run);
