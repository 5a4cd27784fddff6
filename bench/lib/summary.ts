import type { Answer, EngineName } from "./engine.js";
import type { ColdStart, Measurement, RawRun } from "./measure.js";
import { type Distribution, described, type Spread, spread, sum } from "./stats.js";

/** Statistics of one engine's run. Answers that failed are counted and otherwise left out. */
export interface EngineSummary {
  readonly asked: number;
  readonly answered: number;
  /** Question handed over to the answer's end, milliseconds. Null when nothing was answered. */
  readonly responseTime: Distribution | null;
  /** Question handed over to the first token, milliseconds. */
  readonly ttft: Distribution | null;
  /** Tokens of an answer by its response time, TTFT included, tokens per second. */
  readonly throughput: Distribution | null;
  /** Tokens after the first by the time after it, tokens per second; only answers of two tokens or more. */
  readonly decodeRate: Distribution | null;
  /** Output tokens of all answers, counted from ids. */
  readonly totalTokens: number;
  readonly promptTokens: number;
  /** Prompt tokens taken from an earlier prompt's KV cache. */
  readonly cachedTokens: number;
  /** Sum of a cycle's response times: the question loop on the loaded model, milliseconds. */
  readonly warmTotal: Spread;
  /** Start of the process until it answers, milliseconds. */
  readonly processStart: Spread;
  /** Load of the model, milliseconds. */
  readonly load: Spread;
  /** First answer after the load, milliseconds. */
  readonly firstAnswer: Spread;
  /** Process start and load: from nothing to ready to generate, milliseconds. */
  readonly coldReady: Spread;
  /** Process start, load and first answer, milliseconds. */
  readonly coldTotal: Spread;
  /** Largest resident memory at the end of a cycle, bytes. */
  readonly residentBytes: number | null;
}

/** Engine divided by baseline, one value a cycle. Below 1 the engine takes less time; rates: above 1 is faster. */
export interface Comparison {
  readonly warmTotal: Spread;
  readonly coldReady: Spread;
  readonly coldTotal: Spread;
  readonly responseTime: Spread;
  readonly ttft: Spread;
  readonly throughput: Spread;
  readonly decodeRate: Spread | null;
}

/** Tokens per second of an answer, time to first token included. */
export function throughputOf(answer: Answer): number {
  return (answer.tokens.length / answer.totalMs) * 1000;
}

/** Tokens per second after the first token; null for an answer of one token. */
export function decodeRateOf(answer: Answer): number | null {
  const time = answer.totalMs - answer.ttftMs;
  return answer.tokens.length > 1 && time > 0 ? ((answer.tokens.length - 1) / time) * 1000 : null;
}

const isPresent = <Value>(value: Value | null | undefined): value is Value => value != null;

function answersOf(measurements: readonly Measurement[], engine: EngineName): Answer[] {
  return measurements
    .filter((measurement) => measurement.engine === engine)
    .map((measurement) => ("answer" in measurement.result ? measurement.result.answer : undefined))
    .filter(isPresent);
}

/** One value for each cycle from that cycle's part of the run. */
function perCycle<Value>(
  run: RawRun,
  engine: EngineName,
  value: (answers: readonly Answer[], cold: ColdStart) => Value,
): Value[] {
  return run.coldStarts
    .filter((cold) => cold.engine === engine)
    .map((cold) => {
      const measurements = run.measurements.filter((measurement) => measurement.cycle === cold.cycle);
      return value(answersOf(measurements, engine), cold);
    });
}

/** The statistics of one engine. */
export function summarize(run: RawRun, engine: EngineName): EngineSummary {
  const asked = run.measurements.filter((measurement) => measurement.engine === engine).length;
  const answers = answersOf(run.measurements, engine);
  const cold = (time: (start: ColdStart) => number): Spread =>
    spread(perCycle(run, engine, (_, start) => time(start)));
  return {
    asked,
    answered: answers.length,
    responseTime: described(answers.map((answer) => answer.totalMs)),
    ttft: described(answers.map((answer) => answer.ttftMs)),
    throughput: described(answers.map(throughputOf)),
    decodeRate: described(answers.map(decodeRateOf).filter(isPresent)),
    totalTokens: sum(answers.map((answer) => answer.tokens.length)),
    promptTokens: sum(answers.map((answer) => answer.promptTokens)),
    cachedTokens: sum(answers.map((answer) => answer.cachedTokens)),
    warmTotal: spread(perCycle(run, engine, (own) => sum(own.map((answer) => answer.totalMs)))),
    processStart: cold((start) => start.processMs),
    load: cold((start) => start.loadMs),
    firstAnswer: cold((start) => start.firstAnswerMs),
    coldReady: cold((start) => start.processMs + start.loadMs),
    coldTotal: cold((start) => start.processMs + start.loadMs + start.firstAnswerMs),
    residentBytes: run.residentBytes.get(engine) ?? null,
  };
}

/**
 * Ratios of an engine to the baseline, cycle by cycle. Null when either failed a question: a total over
 * other questions would be compared.
 */
export function compare(run: RawRun, engine: EngineName, baseline: EngineName): Comparison | null {
  if (run.measurements.some((measurement) => "error" in measurement.result)) return null;
  const ratios = (value: (answers: readonly Answer[], cold: ColdStart) => number): Spread => {
    const own = perCycle(run, engine, value);
    const other = perCycle(run, baseline, value);
    return spread(own.map((time, cycle) => time / (other[cycle] as number)));
  };
  const mean = (values: readonly number[]): number => sum(values) / values.length;
  const decodeRates = (answers: readonly Answer[]): number[] => answers.map(decodeRateOf).filter(isPresent);
  const decodes = [engine, baseline].every(
    (name) => decodeRates(answersOf(run.measurements, name)).length > 0,
  );
  return {
    warmTotal: ratios((answers) => sum(answers.map((answer) => answer.totalMs))),
    coldReady: ratios((_, cold) => cold.processMs + cold.loadMs),
    coldTotal: ratios((_, cold) => cold.processMs + cold.loadMs + cold.firstAnswerMs),
    responseTime: ratios((answers) => mean(answers.map((answer) => answer.totalMs))),
    ttft: ratios((answers) => mean(answers.map((answer) => answer.ttftMs))),
    throughput: ratios((answers) => mean(answers.map(throughputOf))),
    decodeRate: decodes ? ratios((answers) => mean(decodeRates(answers))) : null,
  };
}
