import type { Answer, ColdTimes, EngineInfo, EngineName, EngineUnderTest, Question } from "./engine.js";
import { residentBytes } from "./machine.js";

/** What was asked of one engine once: an answer, or the error in its place. */
export interface Measurement {
  readonly engine: EngineName;
  /** From 0. */
  readonly cycle: number;
  /** Position of the question, from 0. */
  readonly index: number;
  readonly question: string;
  readonly result: { readonly answer: Answer } | { readonly error: string };
}

/** One start of one engine. */
export interface ColdStart extends ColdTimes {
  readonly engine: EngineName;
  readonly cycle: number;
  /** First answer after the load, milliseconds. */
  readonly firstAnswerMs: number;
}

/** Everything that one run measured, before any statistics. */
export interface RawRun {
  readonly measurements: readonly Measurement[];
  readonly coldStarts: readonly ColdStart[];
  /** What was started, by engine. */
  readonly engines: ReadonlyMap<EngineName, EngineInfo>;
  /** Resident memory after a cycle's last question, bytes, the largest over cycles; null where unknown. */
  readonly residentBytes: ReadonlyMap<EngineName, number | null>;
}

/** What is asked, how often and in which order. */
export interface Plan {
  readonly questions: readonly string[];
  readonly coldQuestion: string;
  readonly cycles: number;
  /** Questions that an engine answers before the next one has its turn. */
  readonly blockSize: number;
  /** Settings of one question. */
  readonly ask: (text: string, index: number) => Omit<Question, "eosTokenIds">;
}

/** Hooks for progress and for checks between the phases. */
export interface Observer {
  onStarting(engine: EngineName, cycle: number): void;
  onStarted(start: ColdStart): void;
  /** After the first cycle's starts; what it throws ends the run. */
  onEngines(engines: ReadonlyMap<EngineName, EngineInfo>): void;
  onMeasurement(measurement: Measurement): void;
  /** After a cycle's last question, while the engines still run. Its work is in no measured time. */
  onCycleEnd(cycle: number, measurements: readonly Measurement[]): Promise<void>;
}

/**
 * Runs the benchmark. In each cycle every engine is started in turn, in a process of its own, and answers the
 * cold question; then the questions are answered block by block, A B A B, so that a slow minute of the
 * machine meets all engines; then all are stopped.
 *
 * A question that fails is recorded and the run goes on. Engines are stopped on every way out.
 *
 * @param engines the first one decides which ids end an answer
 * @throws what an engine's start throws, and what the observer throws
 */
export async function measure(
  engines: readonly EngineUnderTest[],
  plan: Plan,
  observer: Observer,
): Promise<RawRun> {
  const measurements: Measurement[] = [];
  const coldStarts: ColdStart[] = [];
  const infos = new Map<EngineName, EngineInfo>();
  const memory = new Map<EngineName, number | null>();
  const ask = (text: string, index: number): Question => ({
    ...plan.ask(text, index),
    eosTokenIds: [...infos.values()][0]?.eosTokenIds ?? [],
  });

  for (let cycle = 0; cycle < plan.cycles; cycle++) {
    try {
      for (const engine of engines) {
        observer.onStarting(engine.name, cycle);
        const cold = await startCold(engine, cycle, ask(plan.coldQuestion, -1));
        coldStarts.push(cold);
        observer.onStarted(cold);
        infos.set(engine.name, await engine.info());
      }
      if (cycle === 0) observer.onEngines(infos);

      const before = measurements.length;
      for (let from = 0; from < plan.questions.length; from += plan.blockSize) {
        const block = plan.questions.slice(from, from + plan.blockSize);
        for (const engine of engines) {
          for (const [offset, text] of block.entries()) {
            const index = from + offset;
            const result = await attempt(engine, ask(text, index));
            const measurement = { engine: engine.name, cycle, index, question: text, result };
            measurements.push(measurement);
            observer.onMeasurement(measurement);
          }
        }
      }
      for (const engine of engines) {
        const now = await residentBytes(infos.get(engine.name)?.pid ?? 0);
        memory.set(engine.name, largest(memory.get(engine.name) ?? null, now));
      }
      await observer.onCycleEnd(cycle, measurements.slice(before));
    } finally {
      await Promise.all(engines.map((engine) => engine.stop()));
    }
  }
  return { measurements, coldStarts, engines: infos, residentBytes: memory };
}

async function startCold(engine: EngineUnderTest, cycle: number, question: Question): Promise<ColdStart> {
  const times = await engine.start();
  const answer = await engine.answer(question);
  return { engine: engine.name, cycle, ...times, firstAnswerMs: answer.totalMs };
}

async function attempt(engine: EngineUnderTest, question: Question): Promise<Measurement["result"]> {
  try {
    return { answer: await engine.answer(question) };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

function largest(left: number | null, right: number | null): number | null {
  if (left === null || right === null) return left ?? right;
  return Math.max(left, right);
}
