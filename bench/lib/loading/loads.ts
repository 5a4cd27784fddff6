import { setTimeout as sleep } from "node:timers/promises";
import { grouped, type Spread, spread } from "../stats.js";
import { evict } from "./checkpoints.js";
import { caseName, type LoadCase, type LoadMode } from "./modes.js";
import { type ProcessMemory, processMemory, watchMemory } from "./process-memory.js";
import { type TimedLoad, withWorker } from "./worker.js";

/** Memory of one worker that loads one model; null where the platform does not tell. */
export interface LoadMemory {
  /** Before the load. */
  readonly bare: ProcessMemory;
  /** The most of each kind until the end of the load: `peak` is exact, the others are sampled. */
  readonly most: ProcessMemory;
  /** Some time after the load. */
  readonly rest: ProcessMemory;
  /** Some time after the model was unloaded. */
  readonly unloaded: ProcessMemory;
}

/** One cycle of one case. */
export interface LoadRun {
  readonly checkpoint: string;
  readonly mode: LoadMode["name"];
  readonly weightsBytes: number;
  /** From 0. */
  readonly cycle: number;
  /** First load of a worker after the system was asked to forget the files; null where it cannot be asked. */
  readonly disk: TimedLoad | null;
  /** First load of another worker, of files that the system holds in memory. */
  readonly first: TimedLoad;
  /** The same model again while it is loaded. */
  readonly again: TimedLoad;
  readonly unloadMs: number;
  /** The same model again after it was unloaded, in the same worker. */
  readonly reload: TimedLoad;
  readonly memory: LoadMemory | null;
}

/** Loads a model in all ways that are compared. */
export async function measureLoads(
  load: LoadCase,
  cycle: number,
  settleMs: number,
  env: Readonly<Record<string, string>>,
): Promise<LoadRun> {
  const { checkpoint, mode } = load;
  const settings = { ...env, ...mode.env };
  const evicted = await evict(checkpoint.files);
  const fromDisk = await withWorker(settings, (worker) => worker.load(load));
  const rest = await withWorker(settings, async (worker) => {
    const bare = await processMemory(worker.pid);
    const { result: first, most } = await watchMemory(worker.pid, () => worker.load(load));
    await sleep(settleMs);
    const resting = await processMemory(worker.pid);
    const again = await worker.load(load);
    if (!again.cached) throw new Error(`${caseName(load)} was loaded twice`);
    const unloadMs = await worker.unload(load);
    await sleep(settleMs);
    const unloaded = await processMemory(worker.pid);
    const reload = await worker.load(load);
    const memory = bare && most && resting && unloaded ? { bare, most, rest: resting, unloaded } : null;
    return { first, again, unloadMs, reload, memory };
  });
  return {
    checkpoint: checkpoint.name,
    mode: mode.name,
    weightsBytes: checkpoint.weightsBytes,
    cycle,
    disk: evicted ? fromDisk : null,
    ...rest,
  };
}

/** Memory by the weights' size on disk, one value a cycle. */
export interface MemoryRatios {
  /** All resident memory less the bare worker's. */
  readonly peak: Spread;
  readonly rest: Spread;
  /** Anonymous memory less the bare worker's, without pages of mapped files. */
  readonly peakAnonymous: Spread;
  readonly restAnonymous: Spread;
}

/** One case over all cycles. Times are milliseconds. */
export interface LoadSummary {
  readonly checkpoint: string;
  readonly mode: LoadMode["name"];
  readonly weightsBytes: number;
  readonly disk: Spread | null;
  readonly first: Spread;
  readonly again: Spread;
  readonly reload: Spread;
  readonly unload: Spread;
  /** By the first load of the same cycle, of files in memory: what the second load costs of it. */
  readonly againByFirst: Spread;
  readonly reloadByFirst: Spread;
  readonly bareBytes: Spread | null;
  readonly peakBytes: Spread | null;
  readonly restBytes: Spread | null;
  readonly unloadedBytes: Spread | null;
  readonly byWeights: MemoryRatios | null;
}

/** The spreads of all cases, in the order in which they first appear. */
export function summarizeLoads(runs: readonly LoadRun[]): LoadSummary[] {
  return grouped(runs, ({ checkpoint, mode }) => `${checkpoint}\n${mode}`).map(summarize);
}

function summarize(runs: readonly LoadRun[]): LoadSummary {
  const [{ checkpoint, mode, weightsBytes }] = runs as [LoadRun];
  const disk = runs.flatMap((run) => (run.disk ? [run.disk.ms] : []));
  const of = (value: (run: LoadRun) => number): Spread => spread(runs.map(value));
  const memories = runs.flatMap(({ memory }) => (memory ? [memory] : []));
  const bytes = (value: (memory: LoadMemory) => number): Spread | null =>
    memories.length > 0 ? spread(memories.map(value)) : null;
  const ratios = (value: (memory: LoadMemory) => number): Spread =>
    spread(memories.map((memory) => value(memory) / weightsBytes));
  return {
    checkpoint,
    mode,
    weightsBytes,
    disk: disk.length > 0 ? spread(disk) : null,
    first: of((run) => run.first.ms),
    again: of((run) => run.again.ms),
    reload: of((run) => run.reload.ms),
    unload: of((run) => run.unloadMs),
    againByFirst: of((run) => run.again.ms / run.first.ms),
    reloadByFirst: of((run) => run.reload.ms / run.first.ms),
    bareBytes: bytes(({ bare }) => bare.resident),
    peakBytes: bytes(({ most }) => most.peak),
    restBytes: bytes(({ rest }) => rest.resident),
    unloadedBytes: bytes(({ unloaded }) => unloaded.resident),
    byWeights:
      memories.length > 0
        ? {
            peak: ratios(({ most, bare }) => most.peak - bare.resident),
            rest: ratios(({ rest, bare }) => rest.resident - bare.resident),
            peakAnonymous: ratios(({ most, bare }) => most.anonymous - bare.anonymous),
            restAnonymous: ratios(({ rest, bare }) => rest.anonymous - bare.anonymous),
          }
        : null,
  };
}
