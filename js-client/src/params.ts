import { camelCase, snakeCase } from "./casing.js";
import type { Quantization } from "./types/engine.js";
import type { ModelRef, Prompt } from "./types/generate.js";
import type { WireObject } from "./wire.js";
import { invalidParam } from "./wire-errors.js";

/** Types of parameters and the values that they let through; the worker alone knows the ranges. */
interface ParamValues {
  string: string;
  boolean: boolean;
  number: number;
  integer: number;
  object: Readonly<Record<string, unknown>>;
  environment: Readonly<Record<string, string | undefined>>;
  array: readonly unknown[];
  strings: readonly string[];
  integers: readonly number[];
  model: ModelRef;
  prompt: Prompt;
  quantization: Quantization;
  function: (argument: unknown) => void;
  signal: AbortSignal;
}

type ParamType = keyof ParamValues;

/** The parameters of a call by their camelCase names. */
export type ParamTypes<Name extends string = string> = Readonly<Record<Name, ParamType>>;

/** Checked parameters: those that were given. */
export type Params<Types extends ParamTypes> = { readonly [Name in keyof Types]?: ParamValues[Types[Name]] };

const isString = (value: unknown): boolean => typeof value === "string";
const isInteger = (value: unknown): boolean => Number.isSafeInteger(value);
const isArrayOf = (value: unknown, check: (item: unknown) => boolean): boolean =>
  Array.isArray(value) && value.every(check);

const CHECKS: Readonly<Record<ParamType, readonly [accepted: string, check: (value: unknown) => boolean]>> = {
  string: ["a string", isString],
  boolean: ["true or false", (value) => typeof value === "boolean"],
  number: ["a finite number", Number.isFinite],
  integer: ["an integer", isInteger],
  object: ["an object", isObject],
  environment: [
    "an object of strings",
    (value) => isObject(value) && Object.values(value).every((item) => item === undefined || isString(item)),
  ],
  array: ["an array", Array.isArray],
  strings: ["an array of strings", (value) => isArrayOf(value, isString)],
  integers: ["an array of integers", (value) => isArrayOf(value, isInteger)],
  model: ["a model id or a loaded model", (value) => isString(isObject(value) ? value.modelId : value)],
  prompt: [
    "a string or { tokens: integers }",
    (value) => isString(value) || (isObject(value) && isArrayOf(value.tokens, isInteger)),
  ],
  quantization: ["a string or an object", (value) => isString(value) || isObject(value)],
  function: ["a function", (value) => typeof value === "function"],
  // By its shape: a signal may come from another realm, such as a test environment's.
  signal: ["an AbortSignal", (value) => isObject(value) && "aborted" in value && "addEventListener" in value],
};

/**
 * Checks the names and types of a call's parameters, which may come in camelCase or snake_case, and returns
 * those that are set (neither undefined nor null) by their camelCase names.
 *
 * @throws InvalidParamsError naming the call, the parameter and what is accepted
 */
export function readParams<Types extends ParamTypes>(
  call: string,
  input: unknown,
  types: Types,
): Params<Types> {
  if (!isObject(input)) {
    throw invalidParam("params", `${call}: the parameters have to be an object`);
  }
  const values: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(input)) {
    const name = Object.hasOwn(types, key) ? key : camelCase(key);
    const type = Object.hasOwn(types, name) ? types[name] : undefined;
    if (type === undefined) {
      throw invalidParam(
        key,
        `${call}: unknown parameter ${JSON.stringify(key)}`,
        Object.keys(types).join(", "),
      );
    }
    if (value === undefined || value === null) continue;
    const [accepted, check] = CHECKS[type];
    if (!check(value)) throw invalidParam(key, `${call}: parameter ${key} is ${describe(value)}`, accepted);
    // The camelCase spelling wins where both are given.
    if (key === name || !Object.hasOwn(values, name)) values[name] = value;
  }
  return values as Params<Types>;
}

/** The same parameters under their wire names. */
export function toWire(values: WireObject): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [snakeCase(name), value]));
}

/** The id of a checked "model" parameter, which every call needs. */
export function modelIdOf(call: string, model: ModelRef | undefined): string {
  if (model === undefined)
    throw invalidParam("model", `${call}: parameter model is missing`, CHECKS.model[0]);
  return typeof model === "string" ? model : model.modelId;
}

/** Whether a value has fields. */
export function isObject(value: unknown): value is WireObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What a value is, short enough for a message. */
function describe(value: unknown): string {
  if (value === null || typeof value === "number" || typeof value === "boolean") return String(value);
  if (typeof value === "string") return value.length > 40 ? "a string" : JSON.stringify(value);
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
