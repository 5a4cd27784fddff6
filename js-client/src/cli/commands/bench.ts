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
import { duration, table } from "../format.js";
import { dim, type Io, interruptSignal, json, line } from "../io.js";
import { type BenchRow, measure, promptTokens } from "../measure.js";

const DETAILS = `
Each request has a prompt and a completion of fixed lengths, decoded greedily. TTFT and tok/s of a stream are medians
of the worker's own figures; "all streams" is all tokens of a round by its time on this side of the pipe.
`;

const DEFAULT_CONCURRENCY = "1,4";

/** `bench MODEL` */
export const benchCommand: Command = defineCommand({
  name: "bench",
  summary: "Measure time to first token and decode speed",
  usage: ["bench MODEL [OPTIONS]"],
  flags: {
    concurrency: {
      type: "string",
      value: "N,…",
      help: `Requests at a time. Default ${DEFAULT_CONCURRENCY}.`,
    },
    "prompt-tokens": { type: "integer", help: "Tokens of each prompt. Default 128." },
    "max-tokens": { type: "integer", help: "Tokens of each completion. Default 64." },
    rounds: { type: "integer", help: "Rounds at each concurrency. Default 3." },
    json: { type: "boolean", help: "Print JSON." },
    ...LOAD_FLAGS,
    ...ENGINE_FLAGS,
  },
  details: DETAILS,
  async run(values, positionals, io) {
    expectPositionals(positionals, ["MODEL"], 1);
    const name = positionals[0] ?? "";
    const concurrencies = (values.concurrency ?? DEFAULT_CONCURRENCY).split(",").map(Number);
    const size = {
      promptTokens: values["prompt-tokens"] ?? 128,
      maxTokens: values["max-tokens"] ?? 64,
      rounds: values.rounds ?? 3,
    };
    const counts = [...concurrencies, ...Object.values(size)];
    if (!counts.every((count) => Number.isInteger(count) && count > 0) || size.maxTokens < 2) {
      throw new UsageError(
        "accepted: --concurrency, --prompt-tokens and --rounds from 1, --max-tokens from 2",
      );
    }
    const load = loadOptions(name, values);
    const interrupt = interruptSignal(io);
    const engine = openEngine(values, io);
    try {
      const { signal } = interrupt;
      const model = await loadModel(engine, load, io, signal);
      const tokens = await promptTokens(engine, model, size.promptTokens, signal);
      const rows: BenchRow[] = [];
      await measure(engine, model, tokens, { ...size, concurrency: 1, rounds: 1, maxTokens: 8 }, signal); // warms up
      for (const concurrency of concurrencies) {
        rows.push(await measure(engine, model, tokens, { ...size, concurrency }, signal));
      }
      const { version, mlxVersion, backend, device } = await engine.runtimeInfo();
      const { architecture, quantization, parameterCount, dtype, loadMs } = model;
      const about = { model: name, architecture, parameterCount, quantization, dtype, loadMs };
      if (values.json === true)
        json(io, { version, mlxVersion, backend, device, ...about, ...size, results: rows });
      else print(`${name} on ${device.name} (${backend}), loaded in ${duration(loadMs)}`, rows, size, io);
      return EXIT.ok;
    } finally {
      interrupt.stop();
      await engine.close({ drainMs: 0 });
    }
  },
});

function print(
  title: string,
  rows: readonly BenchRow[],
  size: { promptTokens: number; maxTokens: number; rounds: number },
  io: Io,
): void {
  line(io.stdout, title);
  const header = ["CONCURRENCY", "TTFT", "DECODE TOK/S A STREAM", "TOK/S ALL STREAMS"];
  const cells = rows.map((row) => [
    String(row.concurrency),
    duration(row.ttftMs),
    row.decodeTokensPerSecond.toFixed(1),
    row.totalTokensPerSecond.toFixed(1),
  ]);
  for (const text of table([header, ...cells])) line(io.stdout, text);
  const about = `${size.promptTokens} prompt tokens, ${size.maxTokens} generated, ${size.rounds} rounds`;
  line(io.stdout, dim(io.stdout, io.env, about));
}
