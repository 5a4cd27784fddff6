/**
 * Decode and prefill on the CPU of mlx-worker beside mlx-lm and node-llama-cpp, engines by turns. What is measured and
 * the format of the result: README.md.
 */
import { renderChart } from "./lib/chart.js";
import { runCommand } from "./lib/command.js";
import { CPU_FLAGS, type CpuOptions } from "./lib/cpu/args.js";
import { cpuSpec } from "./lib/cpu/chart.js";
import { thisRun } from "./lib/cpu/conditions.js";
import { measureCases, withStarted } from "./lib/cpu/phases.js";
import { agreementLines, caseLines, conditionsLine, targetLines } from "./lib/cpu/report.js";
import { summarizeAgreement, summarizeCases } from "./lib/cpu/summary.js";
import { checkTargets } from "./lib/cpu/targets.js";
import { Progress } from "./lib/progress.js";
import { engineLines } from "./lib/report.js";
import { deliver, engineFacts, resultHead, workerEnvironment } from "./lib/result.js";

async function run(options: CpuOptions): Promise<number> {
  const steps = options.cases.length * options.engines.length * options.rounds;
  const progress = new Progress(options.json ? process.stderr : process.stdout, steps);
  const environment = workerEnvironment(process.env);
  const conditions = await thisRun();
  progress.line(`CPU benchmark of ${options.model}: answers of ${options.maxTokens} tokens, greedy`);
  progress.line(conditionsLine(conditions));

  const { runs, infos } = await withStarted(options, progress, async (started) => {
    for (const line of engineLines(started.infos)) progress.line(line);
    return { runs: await measureCases(started, options, progress), infos: started.infos };
  }).finally(() => progress.end());

  const cases = summarizeCases(runs);
  const result = {
    ...resultHead("cpu", options, environment, new Date()),
    conditions,
    engines: Object.fromEntries([...infos].map(([name, info]) => [name, engineFacts(info)])),
    cases,
    targets: checkTargets(cases, conditions.instructions.includes("avx512f")),
    tokenAgreement: summarizeAgreement(runs),
    rawResults: runs,
  };
  for (const line of caseLines(cases)) progress.line(line);
  for (const line of targetLines(result.targets)) progress.line(line);
  for (const line of agreementLines(result.tokenAgreement)) progress.line(line);
  await deliver(options, result, await renderChart(cpuSpec(result)), (line) => progress.line(line));
  return 0;
}

await runCommand("npm run bench:cpu -- [options]", CPU_FLAGS, run);
