import { parseArgs } from "node:util";

/** A command line that cannot be run as it is; the message says what is accepted. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** One option of a command line. */
export interface Flag<Value> {
  /** With its dashes, for example `--limit`. */
  readonly option: string;
  /** Placeholder of the value in the help; absent: a switch. */
  readonly value?: string;
  readonly doc: string;
  /** Turns the text into a value or throws {@link UsageError}. Not called for the default. */
  readonly parse: (text: string, option: string) => Value;
  readonly default: Value;
}

/** The one table that parsing and help are made of: one flag for each setting. */
export type FlagTable<Options> = { readonly [Key in keyof Options]: Flag<Options[Key]> };

/** Parser of a text that must not be empty. */
export function text(value: string, option: string): string {
  if (value === "") throw new UsageError(`${option} needs a value`);
  return value;
}

/** Parser of an integer within bounds, both included. */
export function integer(low: number, high: number): Flag<number>["parse"] {
  return (value, option) => {
    const parsed = Number(value);
    if (!/^\d+$/.test(value) || parsed < low || parsed > high) {
      throw new UsageError(`${option}: "${value}" is not an integer from ${low} to ${high}`);
    }
    return parsed;
  };
}

/** Parser of a number within bounds, both included. */
export function number(low: number, high: number): Flag<number>["parse"] {
  return (value, option) => {
    const parsed = Number(value);
    if (value.trim() === "" || !(parsed >= low && parsed <= high)) {
      throw new UsageError(`${option}: "${value}" is not a number from ${low} to ${high}`);
    }
    return parsed;
  };
}

/** Parser of one of some words. */
export function oneOf<Word extends string>(...words: readonly Word[]): Flag<Word>["parse"] {
  return (value, option) => {
    const word = words.find((one) => one === value);
    if (word === undefined) throw new UsageError(`${option}: "${value}" is not one of ${words.join(", ")}`);
    return word;
  };
}

/** Parser of a list, separated by commas, of what one parser accepts; no value twice. */
export function listOf<Value>(one: Flag<Value>["parse"]): Flag<readonly Value[]>["parse"] {
  return (value, option) => {
    const values = value.split(",").map((part) => one(part.trim(), option));
    const twice = values.find((item, i) => values.indexOf(item) !== i);
    if (twice !== undefined) throw new UsageError(`${option}: ${twice} is there twice`);
    return values;
  };
}

/** A switch, off by default. */
export function toggle(option: string, doc: string): Flag<boolean> {
  return { option, doc, parse: () => true, default: false };
}

const COLUMN = 27;

/** The help text: a usage line and one line for each option with its default. */
export function helpText<Options extends object>(usage: string, flags: FlagTable<Options>): string {
  const rows = Object.values<Flag<unknown>>(flags).map((flag) => {
    const left = `  ${flag.option}${flag.value ? ` ${flag.value}` : ""}`;
    const shown = flag.value ? ` [${flag.default}]` : "";
    return `${left.padEnd(COLUMN)} ${flag.doc}${shown}`;
  });
  return [`Usage: ${usage}`, "", ...rows, ""].join("\n");
}

/**
 * Parses a command line by a table of flags.
 *
 * @param args the arguments after the program's name
 * @throws UsageError for an unknown option, a stray argument, a missing or a wrong value
 */
export function parseFlags<Options extends object>(
  args: readonly string[],
  flags: FlagTable<Options>,
): Options {
  const entries = Object.entries<Flag<unknown>>(flags);
  const byName = new Map(entries.map(([key, flag]) => [flag.option.slice(2), { key, flag }]));
  const { tokens } = parseArgs({
    args: [...args],
    strict: false,
    tokens: true,
    options: Object.fromEntries(
      entries.map(([, flag]) => [flag.option.slice(2), { type: flag.value ? "string" : "boolean" }] as const),
    ),
  });
  const accepted = entries.map(([, flag]) => flag.option).join(", ");
  const parsed: Record<string, unknown> = Object.fromEntries(
    entries.map(([key, flag]) => [key, flag.default]),
  );
  for (const token of tokens) {
    if (token.kind === "option-terminator") continue;
    if (token.kind === "positional") {
      throw new UsageError(`unexpected argument "${token.value}"; accepted options: ${accepted}`);
    }
    const known = byName.get(token.name);
    if (known === undefined) {
      throw new UsageError(`unknown option ${token.rawName}; accepted options: ${accepted}`);
    }
    const { key, flag } = known;
    if (flag.value === undefined && token.value !== undefined) {
      throw new UsageError(`${flag.option} takes no value`);
    }
    if (flag.value !== undefined && token.value === undefined) {
      throw new UsageError(`${flag.option} needs a value: ${flag.doc}`);
    }
    parsed[key] = flag.parse(token.value ?? "", flag.option);
  }
  return parsed as Options;
}
