/**
 * Runs node-llama-cpp for the benchmark: one JSON object a line on stdin, one a line on stdout, answered in order.
 *
 * Every reply is `{"ok": true, ...}` or `{"ok": false, "error": "..."}`. The first line is sent unasked once
 * node-llama-cpp is imported. Commands (field `cmd`):
 *
 * - `load`: `model` (path of a GGUF file) → versions, end-of-text ids.
 * - `generate`: `prompts` (token ids) at once, each in a sequence of its own of one context with `threads` threads,
 *   greedy, `max_tokens` tokens each whatever they are → by prompt `sent_ms`, the token ids and when each came.
 *   Before, `warm_up_tokens` are generated from the beginning of every prompt, and forgotten.
 * - `quit`.
 *
 * Times are milliseconds on this process's clock. Making the context, JSON and pipes are not in them.
 *
 * Usage: node runner.mjs FOLDER, where FOLDER holds node_modules/node-llama-cpp.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const installed = join(process.argv[2] ?? "", "node_modules/node-llama-cpp");
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(join(installed, "dist/index.js")).href);
const { version } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));

/** Greedy, without penalties; an end-of-text token is a token like any other. */
const GREEDY = { temperature: 0, repeatPenalty: undefined, yieldEogToken: true };

let model;

/** Loads the prebuilt library for CPUs and the model. */
async function load(request) {
  const llama = await getLlama({
    gpu: false,
    build: "never",
    skipDownload: true,
    progressLogs: false,
    // Every context gets exactly the threads that it asks for.
    maxThreads: 0,
    logLevel: LlamaLogLevel.error,
    logger: (_level, message) => process.stderr.write(`${message}\n`),
  });
  model = await llama.loadModel({ modelPath: request.model });
  return {
    versions: { "node-llama-cpp": version, "llama.cpp": llama.llamaCppRelease.release },
    system: llama.systemInfo.trim(),
    eos_token_ids: [model.tokens.eos, model.tokens.eot].filter((id) => id !== null),
  };
}

/** Contexts with their sequences, kept because a new one is slower at first. */
const contexts = new Map();

async function generate({ prompts, max_tokens, warm_up_tokens, threads }) {
  const contextSize = Math.max(...prompts.map((prompt) => prompt.length)) + max_tokens + 1;
  const key = [prompts.length, contextSize, threads].join();
  const known = contexts.get(key);
  const sequences = known ?? (await makeSequences({ sequences: prompts.length, contextSize, threads }));
  contexts.set(key, sequences);
  const round = async (shown, tokens) => {
    const answers = await Promise.all(sequences.map((sequence, i) => answer(sequence, shown[i], tokens)));
    for (const sequence of sequences) await sequence.clearHistory();
    return answers;
  };
  if (!known) await round(prompts, 1);
  await round(
    prompts.map((prompt) => prompt.slice(0, warm_up_tokens)),
    warm_up_tokens,
  );
  return { answers: await round(prompts, max_tokens) };
}

/** All sequences of a new context. */
async function makeSequences(options) {
  const context = await model.createContext({
    ...options,
    flashAttention: true,
    failedCreationRemedy: false,
  });
  return Array.from({ length: options.sequences }, () => context.getSequence());
}

/** One answer. */
async function answer(sequence, prompt, count) {
  const [tokens, atMs] = [[], []];
  const sentMs = performance.now();
  for await (const token of sequence.evaluate(prompt, GREEDY)) {
    atMs.push(performance.now());
    tokens.push(token);
    if (tokens.length === count) break;
  }
  return { sent_ms: sentMs, tokens, at_ms: atMs };
}

function reply(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

const commands = { load, generate };
reply({ ok: true });
for await (const line of createInterface({ input: process.stdin })) {
  const { cmd, ...request } = JSON.parse(line);
  if (cmd === "quit") process.exit(0);
  try {
    if (!Object.hasOwn(commands, cmd)) throw new Error(`unknown command ${JSON.stringify(cmd)}`);
    reply({ ok: true, ...(await commands[cmd](request)) });
  } catch (error) {
    reply({ ok: false, error: error instanceof Error ? `${error.name}: ${error.message}` : String(error) });
  }
}
