/** Writes smollm2_greedy.json again; see README.md. Needs `make setup model` once. */
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { ensureBaseline, prepareModel } from "../bench/baseline/ensure.js";
import { runToEnd } from "../bench/baseline/json-lines.js";
import { TEST_MODEL } from "../bench/lib/args.js";
import { QUESTIONS } from "../bench/questions.js";

const CASES = 12;

const here = fileURLToPath(new URL(".", import.meta.url));
const model = resolve(here, "..", TEST_MODEL);
const questions = QUESTIONS.filter((_, index) => index % 4 === 0).slice(0, CASES);

const python = await ensureBaseline((line) => process.stderr.write(`${line}\n`));
const { folder } = await prepareModel(python, model);
const output = join(here, "smollm2_greedy.json");
await runToEnd(python.command(join(here, "make_goldens.py"), folder, model, output, ...questions));
process.stdout.write(`written: ${output}\n`);
