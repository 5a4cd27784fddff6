import { parseArgs } from "node:util";
import { messageOf, UsageError } from "./exit.js";

/** An option of a command. */
export interface Flag {
  readonly type: "string" | "number" | "integer" | "boolean";
  /** May be given several times. */
  readonly multiple?: boolean;
  readonly short?: string;
  /** What the help calls the value. */
  readonly value?: string;
  /** The only values that a string may have; the help lists them. */
  readonly accepted?: readonly string[];
  /** One sentence for the help. */
  readonly help: string;
}

/** Options by their names, without the dashes. */
export type Flags = Readonly<Record<string, Flag>>;

type One<F extends Flag> = F["type"] extends "boolean"
  ? boolean
  : F["type"] extends "string"
    ? F extends { readonly accepted: readonly (infer Choice)[] }
      ? Choice
      : string
    : number;

/** The options that were given, converted. */
export type Values<F extends Flags> = {
  readonly [Name in keyof F]?: F[Name] extends { readonly multiple: true }
    ? readonly One<F[Name]>[] | undefined
    : One<F[Name]> | undefined;
};

/** A command line, taken apart. */
export interface Parsed<F extends Flags> {
  readonly values: Values<F>;
  readonly positionals: readonly string[];
}

/**
 * Parses what follows a command's name.
 *
 * @throws UsageError for an unknown option, a missing value, one that is no number or none of the accepted ones
 */
export function parseFlags<F extends Flags>(args: readonly string[], flags: F): Parsed<F> {
  const options = Object.fromEntries(
    Object.entries(flags).map(([name, { type, multiple = false, short }]) => [
      name,
      {
        type: type === "boolean" ? ("boolean" as const) : ("string" as const),
        multiple,
        ...(short && { short }),
      },
    ]),
  );
  try {
    const { values, positionals } = parseArgs({
      args: joinNegativeNumbers(args, flags),
      options,
      allowPositionals: true,
    });
    const converted = Object.entries(values).map(([name, value]) => [
      name,
      convert(name, flags[name], value),
    ]);
    return { values: Object.fromEntries(converted) as Values<F>, positionals };
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(messageOf(error));
  }
}

/** `--presence-penalty -1` becomes `--presence-penalty=-1`: parseArgs takes a value with a dash for an option. */
function joinNegativeNumbers(args: readonly string[], flags: Flags): string[] {
  const joined: string[] = [];
  for (const arg of args) {
    const last = joined.at(-1) ?? "";
    const type = last.startsWith("--") ? flags[last.slice(2)]?.type : undefined;
    if ((type === "number" || type === "integer") && /^-[\d.]/.test(arg))
      joined.splice(-1, 1, `${last}=${arg}`);
    else joined.push(arg);
  }
  return joined;
}

function convert(name: string, flag: Flag | undefined, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => convert(name, flag, item));
  if (typeof value !== "string" || flag === undefined) return value;
  const refuse = (accepted: string): never => {
    throw new UsageError(`--${name} ${JSON.stringify(value)}: accepted: ${accepted}`);
  };
  if (flag.type === "string") {
    if (flag.accepted?.includes(value) === false) refuse(flag.accepted.join(", "));
    return value;
  }
  const number = value.trim() === "" ? Number.NaN : Number(value);
  const fits = flag.type === "integer" ? Number.isSafeInteger(number) : Number.isFinite(number);
  return fits ? number : refuse(flag.type === "integer" ? "an integer" : "a number");
}

/** The help's lines about options, aligned. */
export function describeFlags(flags: Flags): string[] {
  const rows = Object.entries(flags).map(([name, { type, short, value, help, multiple, accepted }]) => {
    const placeholder = type === "boolean" ? "" : ` ${value ?? (type === "string" ? "TEXT" : "N")}`;
    const choices = accepted === undefined ? "" : ` Accepted: ${accepted.join(", ")}.`;
    const repeated = multiple === true ? " (may be repeated)" : "";
    return [
      `${short === undefined ? "" : `-${short}, `}--${name}${placeholder}`,
      `${help}${choices}${repeated}`,
    ] as const;
  });
  const width = Math.min(30, Math.max(...rows.map(([left]) => left.length)));
  return rows.map(([left, help]) =>
    left.length > width ? `  ${left}\n  ${" ".repeat(width)}  ${help}` : `  ${left.padEnd(width)}  ${help}`,
  );
}
