/**
 * Measures what the client itself costs: streams that a stand-in for the worker advances at a fixed rate, all iterated
 * at once. Prints, for each number of streams, the time from the first token to the last end over the time that the
 * tokens take at that rate (1: the client keeps up), and the client's share of a core.
 *
 * On one core, both processes: `taskset -c 0 npx tsx js-client/test/bench/streams.ts [seconds]`
 */
import { fileURLToPath } from "node:url";
import { createEngine, type Generation } from "../../src/index.js";

const STEPS_PER_SECOND = 2000;
const EMITTER = fileURLToPath(new URL("emitter.mjs", import.meta.url));

interface Measurement {
  readonly ratio: number;
  /** CPU time of this process over the time of the tokens. */
  readonly clientCores: number;
  /** Tokens per chunk that was read: above 1 where the reader fell behind and chunks were joined. */
  readonly tokensPerChunk: number;
}

async function measure(streams: number, seconds: number): Promise<Measurement> {
  const steps = seconds * STEPS_PER_SECOND;
  await using engine = createEngine({
    workerPath: EMITTER,
    env: {
      EMITTER_STREAMS: String(streams),
      EMITTER_STEPS: String(steps),
      EMITTER_STEPS_PER_SECOND: String(STEPS_PER_SECOND),
    },
  });
  let firstToken = Number.POSITIVE_INFINITY;
  let cpuAtFirst = process.cpuUsage();
  let chunks = 0;
  const read = async (generation: Generation): Promise<number> => {
    let tokens = 0;
    for await (const chunk of generation) {
      if (firstToken === Number.POSITIVE_INFINITY) {
        firstToken = performance.now();
        cpuAtFirst = process.cpuUsage();
      }
      chunks += 1;
      tokens += chunk.tokenIds.length;
    }
    return tokens;
  };
  const params = { model: "m", prompt: "p", maxTokens: steps };
  const counts = await Promise.all(Array.from({ length: streams }, () => read(engine.generate(params))));
  const ms = performance.now() - firstToken;
  if (counts.some((count) => count !== steps)) throw new Error(`tokens were lost: ${counts.join(", ")}`);
  const { user, system } = process.cpuUsage(cpuAtFirst);
  return {
    ratio: ms / (1000 * seconds),
    clientCores: (user + system) / 1e6 / seconds,
    tokensPerChunk: (streams * steps) / chunks,
  };
}

const seconds = Number(process.argv[2] ?? 3);
process.stdout.write(`${STEPS_PER_SECOND} tokens/s a stream, ${seconds} s, Node ${process.version}\n`);
for (const streams of [1, 16, 64]) {
  const { ratio, clientCores, tokensPerChunk } = await measure(streams, seconds);
  process.stdout.write(
    `${String(streams).padStart(3)} streams: ${ratio.toFixed(3)} of the tokens' time, ` +
      `client ${clientCores.toFixed(2)} cores, ${tokensPerChunk.toFixed(2)} tokens a chunk\n`,
  );
}
