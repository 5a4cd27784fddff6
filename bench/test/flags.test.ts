import { describe, expect, test } from "vitest";
import { type Options, optionsTable, TEST_MODEL } from "../lib/args.js";
import { helpText, parseFlags, UsageError } from "../lib/flags.js";

const parse = (...args: string[]): Options => parseFlags(args, optionsTable(50));

describe("command line", () => {
  test("has the documented defaults", () => {
    expect(parse()).toEqual({
      model: TEST_MODEL,
      limit: 50,
      maxTokens: 50,
      cycles: 1,
      temperature: 0,
      seed: 0,
      baseline: "none",
      output: "bench/results",
      json: false,
      help: false,
    });
  });

  test("takes values in both forms", () => {
    const options = parse(
      "--limit",
      "10",
      "--max-tokens=7",
      "--temperature",
      "0.7",
      "--baseline",
      "mlx-lm",
      "--json",
    );
    expect(options).toMatchObject({
      limit: 10,
      maxTokens: 7,
      temperature: 0.7,
      baseline: "mlx-lm",
      json: true,
    });
  });

  test.each([
    [["--lmit", "3"], "unknown option --lmit; accepted options: --model, --limit, --max-tokens, --cycles"],
    [["-x"], "unknown option -x"],
    [["ten"], 'unexpected argument "ten"; accepted options: --model'],
    [["--limit"], "--limit needs a value"],
    [["--limit", "0"], '--limit: "0" is not an integer from 1 to 50'],
    [["--limit", "51"], '"51" is not an integer from 1 to 50'],
    [["--limit", "1e1"], '"1e1" is not an integer'],
    [["--limit", "--json"], '--limit: "--json" is not an integer'],
    [["--cycles", "-1"], '"-1" is not an integer'],
    [["--temperature", "hot"], '"hot" is not a number from 0 to 2'],
    [["--temperature", "3"], '"3" is not a number from 0 to 2'],
    [["--temperature="], '"" is not a number'],
    [["--baseline", "llama"], '"llama" is not one of mlx-lm, none'],
    [["--json=yes"], "--json takes no value"],
    [["--model", ""], "--model needs a value"],
  ])("refuses %j", (args, message) => {
    expect(() => parse(...args)).toThrow(UsageError);
    expect(() => parse(...args)).toThrow(message);
  });

  test("help names every option with its default", () => {
    const help = helpText("bench", optionsTable(50));
    for (const flag of Object.values(optionsTable(50))) expect(help).toContain(flag.option);
    expect(help).toContain("[50]");
    expect(help).not.toContain("[false]");
  });
});
