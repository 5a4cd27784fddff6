// Checks what the documents for Node developers print: blocks of `ts` compile against the built client, a block
// that names an example (```js examples/NAME) is text of that file, blocks of `json` parse, and links lead somewhere.
// The examples themselves are type-checked too. Line numbers of messages are those of the documents.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const GUIDES = "docs/guides";
const DOCUMENTS = [
  "README.md",
  "js-client/README.md",
  "examples/README.md",
  ...readdirSync(join(ROOT, GUIDES)).map((name) => `${GUIDES}/${name}`),
];

/** What a block may use without saying where it comes from. */
const PRELUDE = `
import type { ChatMessage, Engine, ModelHandle } from "mlx-worker";
declare global {
  const engine: Engine;
  const model: ModelHandle;
  const messages: ChatMessage[];
  const prompt: string;
}
`;

const problems = [];
/** Programs made from blocks, by file name. */
const programs = new Map();

for (const document of DOCUMENTS) {
  const text = readFileSync(join(ROOT, document), "utf8");
  for (const block of blocksOf(text)) checkBlock(document, block);
  checkLinks(document, text);
}
if (problems.length === 0) problems.push(...compile());
if (problems.length > 0) {
  console.error(problems.join("\n"));
  process.exit(1);
}
console.log(
  `${DOCUMENTS.length} documents: ${programs.size} blocks of TypeScript compile, as do the examples`,
);

/** The fenced blocks of a document; `line` is that of the first line inside. */
function* blocksOf(text) {
  let open;
  for (const [i, line] of text.split("\n").entries()) {
    const fence = /^```(\w*) ?(\S*)$/.exec(line);
    if (open !== undefined && line === "```") {
      yield { ...open, code: open.lines.map((each) => `${each}\n`).join("") };
      open = undefined;
    } else if (open !== undefined) open.lines.push(line);
    else if (fence !== null) open = { language: fence[1], example: fence[2], line: i + 2, lines: [] };
  }
}

function checkBlock(document, { language, example, line, code }) {
  const complain = (problem) => problems.push(`${document}:${line}: ${problem}`);
  if (example !== "") {
    const file = join(ROOT, example);
    if (!existsSync(file)) complain(`there is no ${example}`);
    else if (!readFileSync(file, "utf8").includes(code)) complain(`this is not text of ${example}`);
  } else if (language === "ts") {
    const name = `${document.replaceAll("/", "+")}+${line}.mts`;
    programs.set(name, { document, source: `${"\n".repeat(line - 1)}${code}export {};\n` });
  } else if (language === "json") {
    try {
      JSON.parse(code);
    } catch (error) {
      complain(error.message);
    }
  } else if (language === "js") {
    complain("a block of js has to name its example: ```js examples/NAME");
  }
}

function checkLinks(document, text) {
  for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
    const [path] = target.split("#");
    if (path === "" || /^[a-z]+:/.test(path)) continue;
    if (!existsSync(join(ROOT, dirname(document), path)))
      problems.push(`${document}: link to ${target}, which is not there`);
  }
}

/** Type-checks the programs and the examples; returns what the compiler says. */
function compile() {
  const folder = join(ROOT, "node_modules", ".doc-snippets");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  try {
    writeFileSync(join(folder, "prelude.d.mts"), PRELUDE);
    for (const [name, { source }] of programs) writeFileSync(join(folder, name), source);
    const options = { noUnusedLocals: false, noUnusedParameters: false };
    const include = [join(folder, "*"), join(ROOT, "examples")];
    const config = {
      extends: "../../examples/tsconfig.json",
      compilerOptions: options,
      include,
      exclude: [],
    };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
    const tsc = join(ROOT, "node_modules", "typescript", "bin", "tsc");
    execFileSync(process.execPath, [tsc, "--pretty", "false", "-p", folder], { cwd: ROOT, encoding: "utf8" });
    return [];
  } catch (error) {
    if (typeof error.stdout !== "string") throw error;
    return [inDocuments(error.stdout, relative(ROOT, folder))];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The compiler's output with the names of documents in place of those of the programs. */
function inDocuments(output, folder) {
  let text = output;
  for (const [name, { document }] of programs) text = text.replaceAll(join(folder, name), document);
  return text;
}
