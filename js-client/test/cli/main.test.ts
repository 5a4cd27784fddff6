import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { run } from "./harness.js";

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

const DOCS = readFileSync(new URL("../../../docs/cli.md", import.meta.url), "utf8");

const COMMANDS = ["chat", "generate", "pull", "models", "inspect", "bench", "doctor"];

describe("mlx-worker", () => {
  test("lists its commands", async () => {
    const { code, stdout } = await run(["--help"]);
    expect(code).toBe(0);
    for (const name of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${name} +\\w`, "m"));
    const none = await run([]);
    expect(none).toMatchObject({ code: 2, stdout: "" });
    expect(none.stderr).toBe(stdout);
  });

  test.each(COMMANDS)("%s has help, by option and by command", async (name) => {
    const { code, stdout } = await run([name, "--help"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`^Usage: mlx-worker ${name}`, "m"));
    expect(stdout).toContain("Exit codes: 0 done; 1 failed; 2 wrong arguments; 130 interrupted.");
    expect((await run(["help", name])).stdout).toBe(stdout);
  });

  test.each(COMMANDS)("docs/cli.md has every option of %s", async (name) => {
    const { stdout } = await run([name, "--help"]);
    const flags = [...stdout.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gm)].map(([, flag]) => flag ?? "");
    expect(flags.length).toBeGreaterThan(1);
    for (const flag of flags) expect(DOCS).toContain(`\`${flag}`);
  });

  test("the help lists what an option accepts", async () => {
    const { stdout } = await run(["generate", "--help"]);
    expect(stdout).toMatch(/--dtype TEXT .* Accepted: float32, float16, bfloat16\./);
    expect(stdout).toMatch(/--quantization FORMAT .* Accepted: none, int4, int8\./);
  });

  test("prints the package's version", async () => {
    expect(await run(["--version"])).toMatchObject({ code: 0, stdout: `${version}\n` });
  });

  test("names what is accepted in place of an unknown command", async () => {
    const { code, stderr } = await run(["serve"]);
    expect(code).toBe(2);
    expect(stderr).toContain('no command "serve"; accepted: chat, generate');
  });

  test.each([
    [["generate"], "MODEL is missing"],
    [["generate", "m", "p", "q"], 'unexpected argument "q"; accepted: MODEL PROMPT'],
    [["generate", "m", "p", "--temprature", "0"], "--temprature"],
    [["generate", "m", "p", "--top-k", "1.5"], '--top-k "1.5": accepted: an integer'],
    [["generate", "m", "p", "--min-p", ""], '--min-p "": accepted: a number'],
    [["generate", "m", "p", "--logit-bias", "a=1"], "accepted: ID=BIAS"],
    [["generate", "m", "p", "--guidance", "yaml"], "accepted: json, json_schema, regex, lark"],
    [["generate", "m", "p", "--guidance-schema", "x"], "needs --guidance"],
    [["generate", "m", "p", "--dtype", "int4"], "accepted: float32, float16, bfloat16"],
    [["generate", "m", "p", "--quantization", "int2"], "accepted: none, int4, int8"],
    [["generate", "m", "p", "--log-level", "all"], "accepted: debug, info, warn, error"],
    [["generate", "m", "p", "--logprobs"], "--logprobs and --top-logprobs need --json"],
    [["generate", "m", "p", "--top-logprobs", "1"], "--logprobs and --top-logprobs need --json"],
    [["generate", "./m", "p", "--revision", "main"], "--revision needs an id"],
    [["chat", "m", "--logprobs"], "--logprobs"],
    [["chat", "m", "--top-logprobs", "1"], "--top-logprobs"],
    [["doctor", "--dtype", "float16"], "--dtype needs MODEL"],
    [["doctor", "m", "--no-self-test"], "MODEL and --no-self-test exclude each other"],
    [["models", "--fast", "--worker", "w"], "--fast and --worker exclude each other"],
    [["bench", "m", "--concurrency", "1,x"], "--concurrency"],
    [["pull", "../x"], "accepted: org/name or org/name@revision"],
    [["pull", "a/b", "--all", "--include", "x"], "exclude each other"],
    [["models", "x"], 'unexpected argument "x"'],
  ])("%j is a usage error", async (args, message) => {
    const { code, stdout, stderr } = await run(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(message);
    expect(stderr).toContain(`see mlx-worker ${args[0]} --help`);
  });

  test("a failure is JSON too where JSON was asked for", async () => {
    const { code, stdout, stderr } = await run(["generate", "missing", "p", "--json"]);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ error: { kind: "ModelLoadError" } });
    expect(stderr).toBe('mlx-worker: model "missing" was not found\n');
  });

  test("a missing worker names the places that were looked at", async () => {
    const { code, stderr } = await run(["generate", "m", "p"], { env: { MLX_WORKER_PATH: "/nowhere" } });
    expect(code).toBe(1);
    expect(stderr).toContain("/nowhere (does not exist)");
  });
});
